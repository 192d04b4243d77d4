"""Runs, paths and decomposed weights as HTML files that open in any browser, without a network."""

from cofire.report.path_page import write_path_page
from cofire.report.weights_pages import write_weights_pages
from cofire.report.writing import write_report

__all__ = ["write_path_page", "write_report", "write_weights_pages"]
