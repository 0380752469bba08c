"""Every example in a docstring prints what it says, and every public name has one."""

import doctest
import importlib
import pkgutil

import pytest

import rectifier

MODULES = sorted(
    name for _, name, _ in pkgutil.walk_packages(rectifier.__path__, "rectifier.") if not name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


def test_a_wrong_example_would_be_caught():
    def wrong():
        """Say two.

        >>> 1 + 1
        3
        """

    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder().find(wrong, "wrong"):
        runner.run(test, out=lambda _: None)
    assert runner.failures == 1


@pytest.mark.parametrize(
    "name", [name for name in rectifier.__all__ if name not in ("__version__", "nn", "functional", "plot")]
)
def test_public_names_explain_themselves_with_an_example(name):
    value = getattr(rectifier, name)
    assert value.__doc__, name
    if not isinstance(value, type):
        assert ">>>" in value.__doc__, f"{name} has no example"
