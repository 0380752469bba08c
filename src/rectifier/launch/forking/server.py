"""Runs as a process of its own: imports what takes long, and then forks once for each script that it is asked to run.

It is started as a script, by its path, with the interpreter and the environment that the user's script would have. In
the child everything is as after `python script.py`: arguments, environment, paths, standard streams, `__main__`, and
random streams that nobody has drawn from. Where that cannot be had, it refuses, and a new process does it.
"""

import builtins
import gc
import importlib
import json
import os
import random
import select
import signal
import sys
import types
from contextlib import suppress
from importlib.machinery import PathFinder, SourceFileLoader
from typing import Any

_OURS = (
    "rectifier.launch.child", "rectifier.launch.explaining", "rectifier.launch.step_limit",
    "rectifier.launch.file_access", "rectifier.hooks.microscope.microscope",
)  # fmt: skip
_POLL = 0.005
"""Seconds between two looks at children at work."""


class _FindOurs:
    """Finds the package that the launcher came from."""

    def __init__(self, spec: Any) -> None:
        self._spec = spec

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return self._spec if name == "rectifier" else None


class _Server:
    def __init__(self, requests: int, replies: int) -> None:
        self._requests, self._replies = requests, replies
        self._children: dict[int, int] = {}
        self._left = b""

    def serve(self) -> dict[str, Any] | None:
        """Answer requests; in a child that was forked for one, return it. None once nobody asks any more."""
        while True:
            ready, _, _ = select.select([self._requests], [], [], _POLL if self._children else None)
            if ready:
                read = os.read(self._requests, 1 << 16)
                if not read:
                    self._kill_all()
                    return None
                self._left += read
            while b"\n" in self._left:
                line, _, self._left = self._left.partition(b"\n")
                request = json.loads(line)
                if self._answer(request):
                    return request  # type: ignore[no-any-return]
            self._reap()

    def _answer(self, request: dict[str, Any]) -> bool:
        """Whether this is the child now."""
        reason = _why_not(request)
        if reason:
            self._reply({"id": request["id"], "refused": reason})
            return False
        parent = os.getpid()
        number = os.fork()
        if number:
            self._children[number] = request["id"]
            self._reply({"id": request["id"], "pid": number})
            return False
        os.close(self._requests)
        os.close(self._replies)
        _die_with(parent)
        return True

    def _reap(self) -> None:
        while self._children:
            number, status = os.waitpid(-1, os.WNOHANG)
            if not number:
                return
            if number in self._children:
                self._reply({"id": self._children.pop(number), "code": os.waitstatus_to_exitcode(status)})

    def _reply(self, reply: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            os.write(self._replies, json.dumps(reply).encode() + b"\n")

    def _kill_all(self) -> None:
        for number in self._children:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(number, signal.SIGKILL)


def _why_not(request: dict[str, Any]) -> str:
    """Why a script cannot be forked here, "" where it can."""
    try:
        threads = len(os.listdir("/proc/self/task"))
    except OSError:
        return "this system does not tell its threads"
    if threads > 1:
        return "a module that was imported has started threads"
    torch = sys.modules["torch"]
    if torch.cuda.is_initialized():
        return "CUDA is initialised"
    first = _first_of_path(request["command"], request["cwd"])
    theirs = PathFinder.find_spec("rectifier", [first, *sys.path])
    ours = sys.modules["rectifier"].__spec__
    if theirs is not None and os.path.realpath(theirs.origin or "") != os.path.realpath(str(ours and ours.origin)):
        return "the script has a module of its own named rectifier"
    return ""


def _first_of_path(command: list[str], cwd: str) -> str:
    """What Python puts in front of its path for this command."""
    if command[0] == "-m":
        return cwd
    return os.path.dirname(os.path.realpath(os.path.join(cwd, command[0])))


def _die_with(parent: int) -> None:
    """Ask the system to kill this process when the server is killed."""
    with suppress(Exception):
        import ctypes  # noqa: PLC0415 - in the child only

        nothing = ctypes.c_ulong(0)
        # PR_SET_PDEATHSIG, SIGKILL
        ctypes.CDLL(None).prctl(1, ctypes.c_ulong(9), nothing, nothing, nothing)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _prepare(settings: dict[str, Any]) -> None:
    """Import what takes long. What itself imports torch is left to the script: it must find our hooks in place."""
    for name in settings["modules"]:
        with suppress(Exception):
            importlib.import_module(name)
    if "torch" in sys.modules:
        raise SystemExit("a module that was meant to come before torch imports it")
    importlib.import_module("torch")
    # Each optimizer imports it; here once.
    importlib.import_module("torch._dynamo")
    finder: Any = _FindOurs(PathFinder.find_spec("rectifier", [settings["package"]]))
    sys.meta_path.insert(0, finder)
    try:
        for name in _OURS:
            importlib.import_module(name)
    finally:
        sys.meta_path.remove(finder)
    # Children share these pages as long as nobody writes into them.
    gc.collect()
    gc.freeze()


def _become(request: dict[str, Any]) -> None:
    """Make this process what a new one would be."""
    os.setsid()
    os.chdir(request["cwd"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environment"])
    loaded = sys.modules.get("tempfile")
    if loaded is not None:
        # It may have been asked before; now the environment names another one.
        loaded.tempdir = None  # type: ignore[attr-defined]
    # A new process draws its own; a child would go on where all others do.
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
    command = request["command"]
    sys.path[0] = _first_of_path(command, request["cwd"])
    sys.argv[:] = command[1:] if command[0] == "-m" else command
    sys.orig_argv[:] = [sys.executable, *command]


def _run(command: list[str]) -> None:
    """Run the user's script as `__main__`."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __annotations__={}, __spec__=None)
    sys.modules["__main__"] = main
    if command[0] == "-m":
        import runpy  # noqa: PLC0415 - as `python -m` does

        runpy._run_module_as_main(command[1])  # type: ignore[attr-defined]
        return
    file = os.path.abspath(command[0])
    main.__dict__.update(__file__=file, __loader__=SourceFileLoader("__main__", file), __cached__=None)
    with open(file, "rb") as source:
        code = compile(source.read(), file, "exec", dont_inherit=True)
    exec(code, main.__dict__)


def main() -> None:
    """Serve until nobody asks any more."""
    requests, replies = (int(number) for number in sys.argv[1:3])
    for descriptor in (requests, replies):
        os.set_inheritable(descriptor, False)
    settings = json.loads(_line(requests))
    # The folder of this file is no place to import from.
    sys.path[0] = _first_of_path(settings["command"], settings["cwd"])
    _prepare(settings)
    request = _Server(requests, replies).serve()
    if request is None:
        return
    _become(request)
    child = sys.modules["rectifier.launch.child"]
    try:
        child.begin(None)
    except Exception as error:
        child.say(f"not watching: {type(error).__name__}: {error}; the script goes on")
    _run(request["command"])


def _line(descriptor: int) -> bytes:
    """One line, and nothing of what comes after it."""
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(descriptor, 1)
        if not read:
            raise SystemExit(0)
        line += read
    return line


if __name__ == "__main__":
    main()
