"""A run as one HTML file that opens in any browser, without a network."""

from cofire.report.writing import write_report

__all__ = ["write_report"]
