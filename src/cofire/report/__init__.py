"""What is stored as HTML files that open in any browser, without a network."""

from cofire.report.compare_page import write_compare_page
from cofire.report.core_page import write_core_page
from cofire.report.flow_page import write_flow_page
from cofire.report.path_page import write_path_page
from cofire.report.reuse_page import write_reuse_page
from cofire.report.tree_page import write_tree_file, write_tree_page
from cofire.report.weights_pages import write_weights_pages
from cofire.report.writing import write_report

__all__ = [
    "write_compare_page",
    "write_core_page",
    "write_flow_page",
    "write_path_page",
    "write_report",
    "write_reuse_page",
    "write_tree_file",
    "write_tree_page",
    "write_weights_pages",
]
