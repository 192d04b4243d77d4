"""Something to be done when another package is imported, without importing it."""

import logging
import sys
from collections.abc import Callable, Iterable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_logger = logging.getLogger(__name__)


class _Watch(MetaPathFinder):
    """Lets the other finders find the package, and adds a step to the end of its import."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then
        self._asking = False

    def find_spec(
        self, fullname: str, path: Iterable[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders say of the package; nothing of any other."""
        if fullname != self._name or self._asking:
            return None
        self._asking = True
        try:
            spec = find_spec(fullname)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            execute, then = spec.loader.exec_module, self._then

            def execute_then(module: ModuleType) -> None:
                execute(module)
                _done(self._name, then)

            spec.loader.exec_module = execute_then  # type: ignore[method-assign]
        return spec


def when_imported(name: str, then: Callable[[], None]) -> None:
    """Call ``then`` after a package is imported: now if it is already, else when it first is.

    Args:
        name: of a top-level package.
        then: called once; where the package is too old or too new for it, that is logged and its
            import goes on.
    """
    if name in sys.modules:
        _done(name, then)
    else:
        sys.meta_path.insert(0, _Watch(name, then))


def _done(name: str, then: Callable[[], None]) -> None:
    try:
        then()
    except (ImportError, AttributeError, TypeError) as error:
        _logger.warning("cofire does not fit this version of %s: %s", name, error)
