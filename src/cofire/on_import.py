"""Something to be done when another package is imported, without importing it.

``import cofire`` runs this module, so it imports nothing that takes time.
"""

import sys
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Watch:
    """A finder of ``sys.meta_path``: the others find the package, it adds a step to its import."""

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
        from importlib.util import find_spec

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
        import logging

        logging.getLogger(__name__).warning(
            "cofire does not fit this version of %s: %s", name, error
        )
