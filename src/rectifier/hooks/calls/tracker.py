"""Which activation call of which forward a call is: the one place where calls are numbered.

A site is a module and the number of its call in one forward of the root. Whoever names sites numbers them here, so
that a finding, a preflight, a census and a treatment mean the same call by the same number.
"""

import threading
import types
import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rectifier.hooks.location import Location, Mark, locate, mark, root_of_checkpoint

_PLAIN_TENSORS = (Tensor, nn.Parameter)


@dataclass(slots=True)
class Call:
    """One activation call that counts.

    Attributes:
        place: Where it comes from.
        number: How many calls of the same owner came before it in this forward.
        tensor: Its input.
        first: Whether it is the first call of its forward.
        again: Whether it is made inside of backward, where the forward's inputs are not the data's.
        counts: For whoever counts calls of this forward by more than their owner.
    """

    place: Location
    number: int
    tensor: Tensor
    first: bool
    again: bool = False
    counts: dict[Any, int] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, int]:
        """The owner's identity, and the number."""
        return id(self.place.owner), self.number

    def number_among(self, kind: Any) -> int:
        """How many calls of some kind came before it in this forward; ask once."""
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        return number


@dataclass(slots=True, eq=False)
class _Forward:
    """A running forward, and how often each module has applied an activation in it."""

    root: nn.Module
    frame: types.FrameType | None
    mark: weakref.ref[Mark] | None = None
    calls: dict[int, int] = field(default_factory=dict)
    counts: dict[Any, int] = field(default_factory=dict)

    def runs_in(self, frame: types.FrameType) -> bool:
        """Whether it is the one that a frame runs."""
        if self.mark is None:
            return self.frame is frame
        own = self.mark()
        return own is not None and frame.f_trace is own

    @property
    def runs(self) -> bool:
        """Whether it has not returned yet."""
        if self.mark is not None:
            return self.mark() is not None
        # Only a running frame knows its caller.
        return self.frame is not None and self.frame.f_back is not None


class CallTracker:
    """Numbers the activation calls of each forward.

    The frame of each thread's latest forward tells its calls from those of the next. It holds the forward's inputs, so
    it must be let go: call `end` when nothing more of the forward is needed.

    Args:
        model: Number the calls of its forwards, and of its parts' where its own forward does not run; None for all
            models. It is held weakly.
        gradients: Number what can be trained: calls with gradients, of plain tensors. A call under `torch.no_grad()` is
            then none, and the next one takes its number. False numbers every call of floating tensors.
    """

    def __init__(self, model: nn.Module | None = None, *, gradients: bool = False) -> None:
        self._model = None if model is None else weakref.ref(model)
        self._gradients = gradients
        self._parts: weakref.WeakKeyDictionary[nn.Module, bool] = weakref.WeakKeyDictionary()
        self._forwards: dict[int, _Forward] = {}
        self._numbered: set[int] = set()
        self._checkpointed: weakref.WeakKeyDictionary[nn.Module, weakref.ref[nn.Module]] = weakref.WeakKeyDictionary()

    def counted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
        """The input of a call with these arguments, if it is one to count where it comes from a model."""
        tensor = args[0] if args else kwargs.get("input")
        if not isinstance(tensor, Tensor):
            return None
        # Anything but a plain tensor is a tracer's stand-in, or of a kind that computes when it is asked something.
        if self._gradients and type(tensor) not in _PLAIN_TENSORS:
            return None
        if not tensor.is_floating_point():
            return None
        if not self._gradients:
            return tensor
        # Ragged and sparse ones have no axis of units.
        if tensor.is_meta:
            return None
        if not torch.is_grad_enabled():
            self._note_checkpoint()
            return None
        return None if tensor.is_nested or tensor.layout is not torch.strided else tensor

    def number(self, tensor: Tensor) -> Call | None:
        """Number the call that is being made with this input, which `counted` returned; None outside of a model."""
        place = locate() if self._model is None else self._place_in(self._model())
        if place is None:
            return None
        # A forward that is run again inside of backward (activation checkpointing) has been counted already, unless it
        # ran without gradients the first time (reentrant checkpointing, adjoint methods).
        again = torch._C._current_graph_task_id() != -1
        if again:
            if id(place.owner) in self._numbered:
                return None
            place.root = self._root_around(place.root)
        thread = threading.get_ident()
        forward = self._forwards.get(thread)
        first = forward is None or not forward.runs_in(place.forward)
        if forward is None or first:
            marked = mark(place.forward) if place.by_name else None
            forward = self._forwards[thread] = _Forward(place.root, None if marked else place.forward, marked)
        owner = id(place.owner)
        number = forward.calls.get(owner, 0)
        forward.calls[owner] = number + 1
        if not again:
            self._numbered.add(owner)
        return Call(place, number, tensor, first, again, forward.counts)

    def _note_checkpoint(self) -> None:
        """Remember whose forward runs without gradients now, and with them inside of backward."""
        root = root_of_checkpoint() if torch._C._current_graph_task_id() == -1 else None
        if root is not None:
            self._checkpointed[root] = weakref.ref(root)

    def _root_around(self, part: nn.Module) -> nn.Module:
        """The model that a part belongs to which is run by itself inside of backward."""
        known = self._checkpointed.get(part)
        root = known() if known is not None else None
        if root is None:
            root = next((one for one in list(self._checkpointed) if part in set(one.modules())), part)
            self._checkpointed[part] = weakref.ref(root)
        return root

    def meet(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """Number the call that is being made with these arguments; None for one that does not count."""
        tensor = self.counted(args, kwargs)
        return None if tensor is None else self.number(tensor)

    def _place_in(self, model: nn.Module | None) -> Location | None:
        if model is None:
            return None
        place = locate(model)
        if place is None and (place := locate()) is not None:
            # Lightning's `training_step` calls `self.net(x)`; so does every loop that calls an encoder and a head by
            # turns.
            if place.root not in self._parts:
                self._parts[place.root] = place.root in set(model.modules())
            return place if self._parts[place.root] else None
        return place

    def end(self, root: nn.Module | None = None) -> None:
        """Let go of this thread's forward; with a root, only if it is one of that module's."""
        thread = threading.get_ident()
        forward = self._forwards.get(thread)
        if forward is not None and (root is None or forward.root is root):
            self._forwards.pop(thread, None)

    def end_step(self) -> None:
        """Let go of this thread's forward, and of the others' that have returned."""
        self.end()
        self._numbered.clear()
        # Other threads may be in the middle of theirs.
        self._forwards = {thread: one for thread, one in self._forwards.items() if one.runs}

    def begin_again(self) -> None:
        """Let go of all forwards (in a forked child, where no other thread lives)."""
        self._forwards.clear()
        self._numbered.clear()
