"""Runs at the start of every Python below `rectifier run`; waits for torch, and is otherwise not there.

It must parse on any Python, do nothing outside of a launch, and load the environment's own sitecustomize, whose place
on the path it has taken.
"""

import errno
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


def _found_by_others(finder, name, path=None, target=None):
    """What importing `name` would find without `finder`."""
    for other in list(sys.meta_path):
        if other is not finder and hasattr(other, "find_spec"):
            spec = other.find_spec(name, path, target)
            if spec is not None:
                return spec
    return None


class _After(object):
    """Lets a module be imported as always, and calls back right after.

    It stays until then: a script may well look for the module first (`importlib.util.find_spec`).
    """

    def __init__(self, name, then):
        self._name = name
        self._then = then

    def find_spec(self, name, path=None, target=None):
        if name != self._name:
            return None
        spec = _found_by_others(self, name, path, target)
        loader = getattr(spec, "loader", None)
        if not hasattr(loader, "exec_module"):
            return spec
        execute = loader.exec_module

        def execute_and_tell(module):
            del loader.exec_module
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                self._then(module)

        try:
            loader.exec_module = execute_and_tell
        except AttributeError:
            # A loader that cannot be changed belongs to somebody else's tool; then there is nothing to observe.
            pass
        return spec


def _after_import(name, then):
    """Call `then(module)` right after the module of that name has been imported, if it ever is."""
    sys.meta_path.insert(0, _After(name, then))


class _FindOurs(object):
    """Finds the package that the launcher came from, whatever else is called rectifier on the script's path."""

    def __init__(self, spec):
        self._spec = spec

    def find_spec(self, name, path=None, target=None):
        return self._spec if name == "rectifier" else None


def _begin(torch):
    try:
        _begin_with_ours()
    except Exception as error:
        if sys.stderr is not None:
            # No character of it shall command the terminal.
            said = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))
            text = "rectifier: not watching: %s: %s; the script goes on\n" % (type(error).__name__, said)
            sys.stderr.write(text)


def _begin_with_ours():
    import json
    from importlib.machinery import PathFinder

    settings = json.loads(os.environ["RECTIFIER_LAUNCH"])
    ours = PathFinder.find_spec("rectifier", [settings["package"]])
    loaded = sys.modules.get("rectifier")
    theirs = _found_by_others(None, "rectifier") if loaded is None else getattr(loaded, "__spec__", None)
    origin = getattr(theirs, "origin", None) or ""
    nobodys = loaded is None and theirs is None
    if nobodys or os.path.realpath(origin) == os.path.realpath(ours.origin):
        _import_from(ours).begin(_after_import)
    else:
        # The script has a module of its own of this name. It is neither run nor hidden: ours leaves the table again.
        aside = _take_out()
        try:
            inside = _import_from(ours)
            inside.begin(_after_import)
            inside.load_what_waits()
        finally:
            _take_out()
            sys.modules.update(aside)


def _import_from(ours):
    finder = _FindOurs(ours)
    sys.meta_path.insert(0, finder)
    try:
        from rectifier.launch import child as inside
    finally:
        sys.meta_path.remove(finder)
    return inside


def _take_out():
    names = [name for name in sys.modules if name == "rectifier" or name.startswith("rectifier.")]
    return {name: sys.modules.pop(name) for name in names}


def _end_with_the_launcher():
    """Ask the system to kill this process when `rectifier run` is killed; otherwise the script would run on unnoticed.

    Only the launcher's own child finds the launcher's process ID in the environment, and removes it. So the child's
    own children are not tied to the launcher, as under plain Python.
    """
    number = os.environ.pop("RECTIFIER_PARENT", None)
    if number is None or not sys.platform.startswith("linux"):
        return
    try:
        parent = int(number)
        if os.getppid() == parent:
            import ctypes

            nothing = ctypes.c_ulong(0)
            # PR_SET_PDEATHSIG, SIGKILL
            ctypes.CDLL(None).prctl(1, ctypes.c_ulong(9), nothing, nothing, nothing)
        if os.getppid() != parent and _is_gone(parent):
            # It was killed just before.
            os.kill(os.getpid(), 9)
    except Exception:
        return


def _hear_standard_input():
    """Note whether a trial's script reads standard input, which it may do before it imports torch."""
    try:
        import json
        from importlib.util import module_from_spec, spec_from_file_location

        settings = json.loads(os.environ["RECTIFIER_LAUNCH"])
        if settings["files_since"] is None:
            return
        above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        spec = spec_from_file_location("_rectifier_standard_input", os.path.join(above, "standard_input.py"))
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        module.hear_reading(settings["folder"])
    except Exception:
        return


def _is_gone(pid):
    try:
        os.kill(pid, 0)
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError as error:
        return error.errno == errno.ESRCH


def _start():
    _end_with_the_launcher()
    _step_out_of_the_path()
    if "RECTIFIER_LAUNCH" in os.environ and sys.version_info >= (3, 9):
        _hear_standard_input()
        _after_import("torch", _begin)
    _load_the_environments_own()


_start()
