"""Runs at the start of every Python below `rectifier run`; waits for torch, and is otherwise not there.

It must parse on any Python, do nothing outside of a launch, and load the environment's own sitecustomize, whose place
on the path it has taken.
"""

import os
import sys


def _step_out_of_the_path():
    # Only of this process's: grandchildren (torchrun, spawned workers) find this folder in PYTHONPATH again.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if not entry or os.path.abspath(entry) != here]


def _load_the_environments_own():
    try:
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec
    except ImportError:
        sys.modules.pop("sitecustomize", None)
        try:
            __import__("sitecustomize")
        except ImportError:
            pass
        return
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


class _WaitForTorch(object):
    """Lets torch be imported as always, and begins to observe right after."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader = getattr(spec, "loader", None)
        if loader is None:
            return spec
        execute = loader.exec_module

        def execute_and_begin(module):
            del loader.exec_module
            try:
                execute(module)
            except BaseException:
                sys.meta_path.insert(0, self)
                raise
            _begin()

        try:
            loader.exec_module = execute_and_begin
        except AttributeError:
            # A loader that cannot be changed belongs to somebody else's tool; then there is nothing to observe.
            pass
        return spec


def _begin():
    try:
        try:
            from rectifier.launch import inside
        except ImportError:
            # The package was found by the parent only, for example because it runs from a source tree.
            import json

            sys.path.append(json.loads(os.environ["RECTIFIER_LAUNCH"])["package"])
            from rectifier.launch import inside
        inside.begin()
    except Exception as error:
        sys.stderr.write("rectifier: not watching: %s: %s; the script goes on\n" % (type(error).__name__, error))


def _start():
    _step_out_of_the_path()
    if "RECTIFIER_LAUNCH" in os.environ and sys.version_info >= (3, 9):
        sys.meta_path.insert(0, _WaitForTorch())
    _load_the_environments_own()


_start()
