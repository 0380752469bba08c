"""One activation for another in every model of a process, before they are built: the script stays as it is."""

import os
import sys
import types
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from rectifier.catalogue import Choice, parse
from rectifier.errors import CannotSwap
from rectifier.hooks import modules
from rectifier.hooks.calls import functions
from rectifier.hooks.patch.attributes import on_construction
from rectifier.hooks.replace.replacement import Replacement
from rectifier.treatment import steps
from rectifier.treatment.change import Change
from rectifier.treatment.swapping.survey import Old
from rectifier.treatment.swapping.swap import FAST_PATH, NEEDS_A_MODULE, like

_TORCH_FOLDER = os.path.dirname(torch.__file__) + os.sep
_OUR_FOLDER = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep


def swap_everywhere(old: str, new: str) -> Change:
    """Replace one activation by another in every model that this process builds, copies or unpickles from now on.

    Modules are replaced when they become part of another one, functional calls when they happen inside of a model's
    forward. No random number is drawn, and `F.relu` stays the same object.

    Warning:
        With a learned slope (`prelu`) the slopes are in `model.parameters()`, and so in the weight decay of the
        script's optimizer. A functional call cannot have one: the first such call raises.

    Args:
        old: The activation to replace; with a parameter (`leaky_relu:0.01`) only those with this parameter.
        new: The activation to put there.

    Returns:
        What was replaced so far, growing; `undo()` ends it and puts back the modules of models that still exist.

    Raises:
        UnknownActivation: A name or parameter is not in the catalogue.

    Example:
        >>> import torch
        >>> with swap_everywhere("relu", "leaky_relu:0.1") as change:
        ...     torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU())
        Sequential(
          (0): Linear(in_features=5, out_features=7, bias=True)
          (1): LeakyReLU(negative_slope=0.1)
        )
        >>> change.replaced
        ('Sequential.1',)
    """
    wanted, put = Old(parse(old), ":" in old), parse(new)
    change = Change(wanted.spec, put.spec)
    if put.activation.name == "prelu":
        change.record(notes=["The slopes take part in the weight decay of the script's optimizer."])
    changing = _Everywhere(wanted, put, change)
    change.did(steps.Withdrawn(changing.put_back))
    change.did(steps.Withdrawn(modules.on_registration(changing.registered)))
    if wanted.name in FAST_PATH:
        change.did(steps.Withdrawn(on_construction(nn.TransformerEncoderLayer, changing.leave_fast_path)))
    if not (put.activation is wanted.choice.activation and put.parameter is None):
        change.did(steps.Withdrawn(functions.replace(wanted.name, changing.called)))
    return change


class _Everywhere:
    """What happens at each registration and at each call."""

    def __init__(self, old: Old, new: Choice, change: Change) -> None:
        self._old, self._new, self._change = old, new, change
        self._needs_module = new.activation.name in NEEDS_A_MODULE
        self._replacement = None if self._needs_module else Replacement(old.spec, old.exact, new.spec)
        # Squared ReLU calls ReLU itself, and its module's call would be squared again: calls alone are enough.
        self._only_calls = new.activation.name == "relu_squared" and old.name == "relu"
        self._instead: weakref.WeakKeyDictionary[nn.Module, nn.Module] = weakref.WeakKeyDictionary()
        self._placed: list[tuple[weakref.ref[nn.Module], str, nn.Module, nn.Module]] = []
        self._fast: list[tuple[weakref.ref[nn.Module], int]] = []
        self._lines: set[tuple[types.CodeType, int]] = set()
        self._compiled = _told_at_trace(lambda: change.record(["calls in a compiled forward"], once=True))

    def registered(self, parent: nn.Module, name: str, child: nn.Module) -> nn.Module | None:
        """A module gets a child."""
        self.leave_fast_path(parent)
        if self._only_calls or not self._old.is_(child):
            return None
        if modules.activation_of(child) == self._new:
            return None
        made = self._instead.get(child)
        if made is None:
            made = self._instead[child] = like(child, self._new, modules.neighbour(parent, name))
        self._placed.append((weakref.ref(parent), name, child, made))
        self._change.record([f"{modules.written_class(type(parent)).__name__}.{name}"])
        return made

    def leave_fast_path(self, module: nn.Module) -> None:
        """Keep a Transformer layer's inference kernel, which knows ReLU and GELU only, from ignoring the swap."""
        computes = vars(module).get("activation_relu_or_gelu")
        if computes and computes == FAST_PATH.get(self._old.name):
            self._fast.append((weakref.ref(module), computes))
            vars(module)["activation_relu_or_gelu"] = FAST_PATH.get(self._new.activation.name, 0)

    def called(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        """An activation function is called inside of a model's forward."""
        if self._replacement is None:
            raise CannotSwap(self._no_place())
        rest = args[1:] if args else args
        if not self._replacement.meant(rest, kwargs) or self._already(rest, kwargs):
            return NotImplemented
        if not torch.compiler.is_compiling():
            self._tell()
            return self._replacement.call(original, *args, **kwargs)
        self._compiled()
        if self._only_calls:
            return _squared(*args, **kwargs)
        return self._replacement.call(original, *args, **kwargs)

    def _already(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a call is what it is to become; of one activation, from one slope to another."""
        row = self._new.activation
        if row is not self._old.choice.activation or row.parameter is None:
            return False
        given = args[0] if args else kwargs.get(row.parameter, row.default)
        return bool(given == self._new.parameter)

    def _tell(self) -> None:
        frame = _caller()
        if frame is None or (frame.f_code, frame.f_lineno) in self._lines:
            return
        self._lines.add((frame.f_code, frame.f_lineno))
        if frame.f_code.co_filename.startswith("<eval_with_key>"):  # a compiled graph, told when it was traced
            return
        where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
        self._change.record([f"{self._old.name} at {where}"])

    def _no_place(self) -> str:
        frame = None if torch.compiler.is_compiling() else _caller()
        at = "" if frame is None else f" at {os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
        row = self._new.activation
        needs = "a learned slope" if row.name == "prelu" else "a training mode"
        return (
            f"The call of {self._old.name}{at} cannot become {self._new.spec}: it needs {needs}, and a function has "
            f"no place for it. Write self.act = torch.nn.{row.module}() in __init__ and self.act(x) there, "
            "or choose leaky_relu:0.25."
        )

    def put_back(self) -> None:
        """Put the old modules back where their parents still hold the new ones."""
        for parent_reference, name, old, new in reversed(self._placed):
            parent = parent_reference()
            if parent is not None and parent._modules.get(name) is new:
                modules.put(parent, name, modules.take_after(old, new))
        for reference, computes in self._fast:
            module = reference()
            if module is not None:
                vars(module)["activation_relu_or_gelu"] = computes


def _squared(input: Tensor, inplace: bool = False) -> Tensor:  # noqa: A002
    """Squared ReLU by the operator below torch.relu, which a compiled graph does not lead back here."""
    result: Tensor = torch.ops.aten.relu.default(input).square()
    return input.copy_(result) if inplace else result


def _caller() -> types.FrameType | None:
    """The innermost frame that is neither torch's nor ours."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH_FOLDER, _OUR_FOLDER, "<rectifier")):
        frame = frame.f_back
    return frame


def _told_at_trace(function: Any) -> Any:
    """Let a compiler run the function while it traces, and leave it out of what it makes."""

    def told() -> bool:
        function()
        return True

    # torch.compiler.assume_constant_result sets this, too, but imports the whole compiler first.
    told._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return told
