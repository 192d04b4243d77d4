"""A run or a path as one HTML file that opens in any browser, without a network."""

from cofire.report.path_page import write_path_page
from cofire.report.tree_page import write_tree_file, write_tree_page
from cofire.report.writing import write_report

__all__ = ["write_path_page", "write_report", "write_tree_file", "write_tree_page"]
