"""Keeps torch's compiler from learning our wrappers for torch's own functions, and from compiling our own code.

Dynamo looks up `torch.relu`, `Tensor.relu` and thousands of other names once, and remembers the objects that it found.
If it found a wrapper, it would not know the builtin behind it for the life of the process.

At a graph break in a compiled function (`loss.backward()`, for example), Dynamo compiles every Python function that is
called there, ours included: 40 graphs for one step, and seconds of the user's time.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

_RULES = "torch._dynamo.trace_rules"
_LOOK_UPS = ("get_torch_obj_rule_map", "get_tensor_method")

_OUR_FOLDER = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
# Whatever is called from within a forward that is compiled (the functions of torch that we stand in for, activations,
# scopes) stays open to Dynamo; it must be able to see through.
_CLOSED = (
    "launch/", "monitor/", "records/", "sandbox/", "storage/", "hooks/graph/", "hooks/microscope/",
    "hooks/announce.py", "hooks/holders.py", "hooks/location.py", "hooks/recorders.py", "hooks/training.py",
)  # fmt: skip

_met: dict[str, ModuleType] = {}
"""Our own modules that were changed once, by name."""


def look_up_unwrapped(step_aside: Callable[[Callable[[], Any]], Any]) -> Callable[[], None]:
    """Make Dynamo's look-up of torch's functions happen while no wrapper is in place; returns the undo.

    Args:
        step_aside: Calls what it is given with all wrappers taken away, and puts them back.
    """
    return after_import(_RULES, lambda rules: _wrap(rules, step_aside))


def after_import(name: str, change: Callable[[ModuleType], Callable[[], None]]) -> Callable[[], None]:
    """Change a module as soon as it is imported, which may be at once or never; returns the undo.

    Note:
        If the script has its own module named `rectifier`, our modules leave `sys.modules` once they are loaded; the
        name then means the script's module. So we remember our own modules, and leave the script's alone.

    Args:
        name: The module's full name.
        change: Given the module; returns what takes the change back.
    """
    module = sys.modules.get(name)
    if name.startswith("rectifier."):
        module = _met.get(name, module)
        change = functools.partial(_change_ours, change)
    if module is not None:
        return change(module)
    finder = _AfterImport(name, change)
    sys.meta_path.insert(0, finder)

    def undo() -> None:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        finder.undo()

    return undo


def _change_ours(change: Callable[[ModuleType], Callable[[], None]], module: ModuleType) -> Callable[[], None]:
    if not (getattr(module, "__file__", None) or "").startswith(_OUR_FOLDER):
        return lambda: None
    _met[module.__name__] = module
    return change(module)


def _wrap(rules: ModuleType, step_aside: Callable[[Callable[[], Any]], Any]) -> Callable[[], None]:
    undo = [_wrap_one(rules, name, step_aside) for name in _LOOK_UPS if hasattr(rules, name)]
    undo.append(_close(rules))

    def undo_all() -> None:
        while undo:
            undo.pop()()

    return undo_all


def _close(rules: ModuleType) -> Callable[[], None]:
    """Make Dynamo skip our own code."""
    if not (hasattr(rules, "SKIP_DIRS") and hasattr(rules, "_recompile_re")):
        return lambda: None
    closed = [os.path.join(_OUR_FOLDER, part) for part in _CLOSED]
    rules.SKIP_DIRS.extend(closed)
    rules._recompile_re()

    def undo() -> None:
        rules.SKIP_DIRS[:] = [folder for folder in rules.SKIP_DIRS if folder not in closed]
        rules._recompile_re()

    return undo


def pass_by(*functions: Callable[..., Any]) -> Callable[[], None]:
    """Make Dynamo skip these functions but compile what they call; for functions whose file it must not skip."""

    def mark(frames: ModuleType) -> Callable[[], None]:
        for function in functions:
            if hasattr(frames, "skip_code"):
                frames.skip_code(function.__code__)
        return lambda: None

    return after_import("torch._dynamo.eval_frame", mark)


def see_through(original: Callable[[Any], Any], *kinds: type) -> Callable[[], None]:
    """Let Dynamo take the builtin where it meets one of our stand-ins by itself, as it does under a function mode."""

    def teach(builder: ModuleType) -> Callable[[], None]:
        create = builder.SourcelessBuilder.create
        handlers = getattr(builder.SourcelessBuilder, "_type_handlers", {})
        handlers.update(dict.fromkeys(kinds, lambda tx, value: create(tx, original(value))))

        def undo() -> None:
            for kind in kinds:
                handlers.pop(kind, None)

        return undo

    return after_import("torch._dynamo.variables.builder", teach)


def find_builtins_behind(
    step_aside: Callable[[Callable[[], Any]], Any], original: Callable[[Any], Any]
) -> Callable[[], None]:
    """Let torch's table of builtins, which knows them by identity, be made without our stand-ins and asked with them.

    `torch.fx` looks up the signature of a call there.
    """
    table = sys.modules.get("torch.jit._builtins")
    make, find = getattr(table, "_get_builtin_table", None), getattr(table, "_find_builtin", None)
    if table is None or make is None or find is None:
        return lambda: None

    @functools.wraps(make)
    def made_aside() -> Any:
        return make() if vars(table).get("_builtin_table") is not None else step_aside(make)

    @functools.wraps(find)
    def found_behind(function: Any) -> Any:
        return find(original(function))

    vars(table).update(_get_builtin_table=made_aside, _find_builtin=found_behind)

    def undo() -> None:
        for name, ours, theirs in (("_get_builtin_table", made_aside, make), ("_find_builtin", found_behind, find)):
            if vars(table)[name] is ours:
                vars(table)[name] = theirs

    return undo


def _wrap_one(rules: ModuleType, name: str, step_aside: Callable[[Callable[[], Any]], Any]) -> Callable[[], None]:
    look_up = getattr(rules, name)

    @functools.wraps(look_up)
    def look_up_aside() -> Any:
        # Cached inside: only the first call does anything, and only that one needs torch as it was made.
        info = getattr(look_up, "cache_info", None)
        return look_up() if info is not None and info().currsize else step_aside(look_up)

    for attribute in ("cache_clear", "cache_info"):
        if hasattr(look_up, attribute):
            setattr(look_up_aside, attribute, getattr(look_up, attribute))
    setattr(rules, name, look_up_aside)

    def undo() -> None:
        if getattr(rules, name) is look_up_aside:
            setattr(rules, name, look_up)

    return undo


class _AfterImport(importlib.abc.MetaPathFinder):
    """Waits for a module to be imported, which most programs never do."""

    def __init__(self, name: str, change: Callable[[ModuleType], Callable[[], None]]) -> None:
        self._name, self._change = name, change
        self.undo: Callable[[], None] = lambda: None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        loader = spec.loader
        execute = loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            self.undo = self._change(module)

        loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec
