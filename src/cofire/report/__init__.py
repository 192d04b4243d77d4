"""What is stored as HTML files that open in any browser, without a network.

Modules of pages are imported when they are first asked for: judged steering brings in model
libraries, and who only wants a figure's name or a style sheet should not wait for those.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOME = {
    "write_compare_page": "compare_page",
    "write_core_page": "core_page",
    "write_flow_page": "flow_page",
    "write_path_page": "path_page",
    "write_report": "writing",
    "write_reuse_page": "reuse_page",
    "write_tree_file": "tree_page",
    "write_tree_page": "tree_page",
    "write_weights_pages": "weights_pages",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cofire.report' has no attribute {name!r}")
    return getattr(import_module(f"cofire.report.{_HOME[name]}"), name)
