"""The examples in docstrings are run, those of every module."""

import doctest
import importlib
import inspect
import pkgutil
import warnings

import pytest

import cofire

MODULES = [
    found.name
    for found in pkgutil.walk_packages(cofire.__path__, "cofire.")
    if not found.name.endswith("__main__")
]


def examples(name: str) -> list[doctest.DocTest]:
    """Those of a module, of what it defines, and of the methods of its classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that some modules are written for
        module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    own = {
        key: value
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == name and not key.startswith("__")
    }
    found = finder.find(module.__doc__ or "", name, module=False, globs=vars(module))
    for key, value in own.items():
        if inspect.isclass(value) or callable(value):
            found += finder.find(value, f"{name}.{key}", module=False, globs=vars(module))
    return [one for one in found if one.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    for one in examples(name):
        failures: list[str] = []
        doctest.DocTestRunner().run(one, out=failures.append)
        assert not failures, "".join(failures)


def test_examples_of_functions_and_methods_are_found():
    names = {one.name for one in examples("cofire.evaluation.fluency")}
    assert "cofire.evaluation.fluency.FluencyScale.rate" in names
    assert examples("cofire.evaluation.auroc")
