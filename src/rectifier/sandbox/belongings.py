"""What a model holds beside its weights, kept as it was while a forward runs on the side.

Buffers, and tensors that hang on a module in other ways, are exchanged for copies, so that the user's own are never
written to. Everything else that a forward may change (an attribute, a list, a dictionary, an object of the
user's, a generator of random numbers) is remembered and put back. The user's hooks on modules are left out.

What cannot be kept is refused before the forward runs: an iterator, what another thread may be using, and more state
than can be looked through. Weights are not copied, but at the first run: whoever writes to them mostly does so every
time. What cannot be seen: closures, global variables, files, and a weight that only a later forward writes to, in
place and past autograd.
"""

import collections
import functools
import random
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rectifier.sandbox.untouched import same

_MOST_OBJECTS = 100_000
_MOST_BYTES = 1 << 28
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs",
)  # fmt: skip
_LIKE_NUMBERS = (
    str, bytes, int, float, complex, bool, type(None), type, Enum, range, slice, types.FunctionType, types.ModuleType,
    types.BuiltinFunctionType, types.MethodType, functools.partial, weakref.ref, torch.dtype, torch.device, torch.Size,
    nn.Parameter,
)  # fmt: skip
# They hold the model, its data and its optimizer, and a forward changes nothing of that.
_FRAMEWORKS = frozenset({"torch", "lightning", "pytorch_lightning", "accelerate", "wandb", "logging"})
# Another thread goes on using them while the forward runs: putting them back would lose what it took or added.
_SHARED = frozenset({"threading", "_thread", "queue", "_queue", "concurrent", "multiprocessing", "asyncio", "_asyncio"})


class CannotKeep(Exception):
    """Something could not be put back after a forward; the text says what, and where it hangs."""


@contextmanager
def belongings_kept(*roots: object, first: bool = True) -> Iterator[None]:
    """Within it the modules among `roots` may be run; afterwards all that hangs on them is as it was.

    Args:
        roots: Modules, and whatever else a forward is given.
        first: Copy the weights, too, and write them back where they were changed.

    Raises:
        CannotKeep: On entering, for what could not be put back; on leaving, when a weight was written to after all.
    """
    kept = _Kept(first)
    for root in roots:
        kept.keep(root, type(root).__name__)
    try:
        kept.exchange()
        yield
    finally:
        written = kept.put_back()
    if written:
        raise CannotKeep(f"the forward writes to {written[0]}, which is a parameter")


class _Kept:
    def __init__(self, first: bool) -> None:
        self._first = first
        self._met: dict[int, object] = {}
        self._undo: list[Callable[[], object]] = []
        self._modules: list[tuple[nn.Module, dict[str, Any]]] = []
        self._holders: list[tuple[Any, Iterable[Any]]] = []
        self._weights: dict[int, _Weight] = {}
        self._bytes = 0

    # Looking -----------------------------------------------------------------------------------------------------

    def keep(self, thing: object, where: str) -> None:
        """Remember a thing and what it holds."""
        waiting = [(thing, where)]
        while waiting:
            thing, where = waiting.pop()
            if isinstance(thing, _LIKE_NUMBERS) or id(thing) in self._met:
                continue
            self._met[id(thing)] = thing
            if len(self._met) > _MOST_OBJECTS:
                raise CannotKeep(f"{where} holds more than {_MOST_OBJECTS:,} Python objects")
            if isinstance(thing, nn.Module):
                waiting += self._module(thing, where)
            else:
                waiting += [(held, where) for held in self._object(thing, where)]

    def _module(self, module: nn.Module, where: str) -> list[tuple[object, str]]:
        own = vars(module)
        self._modules.append((module, dict(own)))
        for table in (own["_parameters"], own["_modules"], own["_buffers"]):
            self._undo.append(functools.partial(_restore_dict, table, dict(table)))
        for name, weight in own["_parameters"].items():
            if weight is not None and id(weight) not in self._weights:
                self._weights[id(weight)] = _Weight(weight, f"{where}.{name}", copied=self._first)
        inside: list[tuple[object, str]] = [(child, f"{where}.{name}") for name, child in own["_modules"].items()]
        for name, value in own.items():
            if not isinstance(value, Tensor) and name not in ("_parameters", "_buffers", "_modules", *_HOOKS):
                inside.append((value, f"{type(module).__name__}.{name}"))
        return inside

    def _object(self, thing: Any, where: str) -> list[object]:
        """Remember one thing that is no module; returns what it holds."""
        if isinstance(thing, Tensor | np.ndarray):
            self._array(thing, where)
        elif isinstance(thing, dict | _Slots):
            before = dict(thing)
            self._undo.append(functools.partial(_restore_dict, thing, before))
            self._holders.append((thing, list(before)))
            return [value for value in before.values() if not isinstance(value, Tensor)]
        elif isinstance(thing, list | collections.deque):
            items = list(thing)
            self._undo.append(functools.partial(_restore_list, thing, items))
            self._holders.append((thing, range(len(items))))
            return [item for item in items if not isinstance(item, Tensor)]
        elif isinstance(thing, set | bytearray):
            copy = thing.copy()
            self._undo.append(functools.partial(_restore_plain, thing, copy))
        elif isinstance(thing, tuple | frozenset):
            return list(thing)
        elif isinstance(thing, torch.Generator):
            self._undo.append(functools.partial(thing.set_state, thing.get_state()))
        elif isinstance(thing, np.random.RandomState):
            self._undo.append(functools.partial(thing.set_state, thing.get_state(legacy=True)))
        elif isinstance(thing, random.Random):
            self._undo.append(functools.partial(thing.setstate, thing.getstate()))
        elif isinstance(thing, np.random.Generator):
            return [thing.bit_generator]
        elif isinstance(thing, np.random.BitGenerator):
            self._undo.append(functools.partial(setattr, thing, "state", thing.state))
        elif hasattr(thing, "__next__"):
            raise CannotKeep(f"{where} is {type(thing).__name__}, and an iterator cannot be set back")
        elif _package(type(thing)) not in _FRAMEWORKS:
            return _attributes(thing, where)
        return []

    def _array(self, array: Any, where: str) -> None:
        """Numbers that hang where no copy can take their place: written back where they were changed."""
        self._bytes += array.nbytes
        if self._bytes > _MOST_BYTES:
            raise CannotKeep(f"{where} holds more than {_MOST_BYTES >> 20} MiB of numbers outside of buffers")
        if isinstance(array, np.ndarray):
            numbers = array.copy()
            self._undo.append(lambda: None if _same_array(array, numbers) else np.copyto(array, numbers))
            return
        values, version = array.detach().clone(), array._version

        def undo() -> None:
            if array._version != version:
                with torch.no_grad():
                    array.copy_(values)

        self._undo.append(undo)

    # Exchanging --------------------------------------------------------------------------------------------------

    def exchange(self) -> None:
        """Put copies of tensors in the place of the user's, and leave the user's hooks away."""
        copies: dict[int, Tensor] = {}

        def copy(value: Any) -> Any:
            # One tensor under two names stays one.
            if isinstance(value, Tensor) and id(value) not in copies:
                copies[id(value)] = value.detach().clone()
            return copies.get(id(value), value)

        for holder, keys in self._holders:
            for key in keys:
                value = holder[key]
                if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                    holder[key] = copy(value)
        for module, before in self._modules:
            own = vars(module)
            for name, value in before.items():
                if isinstance(value, Tensor):
                    own[name] = copy(value)
            if before["_buffers"]:
                own["_buffers"] = {name: copy(buffer) for name, buffer in before["_buffers"].items()}
            own.update({table: _without_the_users(before[table]) for table in _HOOKS if before.get(table)})

    def put_back(self) -> list[str]:
        """Everything as it was; returns the weights that were written to."""
        for module, before in self._modules:
            _restore_dict(vars(module), before)
        while self._undo:
            self._undo.pop()()
        return [weight.where for weight in self._weights.values() if weight.put_back()]


class _Weight:
    """A parameter. It stays in its place while the forward runs, for the graph that tells where units are."""

    def __init__(self, weight: nn.Parameter, where: str, *, copied: bool) -> None:
        self.where = where
        self._weight, self._version = weight, weight._version
        # What an assignment to `weight.data` leaves, which autograd does not count.
        self._data, self._at = weight.data, (weight.data_ptr(), weight.stride())
        self._values = weight.detach().clone() if copied else None

    def put_back(self) -> bool:
        """Undo what can be undone; returns whether the weight was written to."""
        weight, written = self._weight, self._weight._version != self._version
        if (weight.data_ptr(), weight.stride()) != self._at:
            weight.data, written = self._data, True
        if self._values is not None and not same(weight.detach(), self._values):
            # A new version would break a graph that the user still holds.
            weight.data.copy_(self._values)
            written = True
        return written


class _Slots(MutableMapping[Any, Any]):
    """What an object keeps in `__slots__`, as others do in `__dict__`. Past its own `__setattr__`: it may be frozen."""

    def __init__(self, thing: object, slots: list[types.MemberDescriptorType]) -> None:
        self._thing, self._slots = thing, slots

    def __getitem__(self, slot: Any) -> Any:
        try:
            return slot.__get__(self._thing)
        except AttributeError:
            raise KeyError(slot) from None

    def __setitem__(self, slot: Any, value: Any) -> None:
        slot.__set__(self._thing, value)

    def __delitem__(self, slot: Any) -> None:
        slot.__delete__(self._thing)

    def __iter__(self) -> Iterator[Any]:
        return (slot for slot in self._slots if slot in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _attributes(thing: object, where: str) -> list[object]:
    if any(_package(base) in _SHARED for base in type(thing).__mro__):
        raise CannotKeep(f"{where} is {type(thing).__name__}, which another thread or process may be using")
    inside: list[object] = [vars(thing)] if hasattr(thing, "__dict__") else []
    slots = _slots(type(thing))
    return [*inside, _Slots(thing, slots)] if slots else inside


def _slots(kind: type) -> list[types.MemberDescriptorType]:
    own = (vars(base).values() for base in kind.__mro__ if "__slots__" in vars(base))
    return [slot for values in own for slot in values if isinstance(slot, types.MemberDescriptorType)]


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _without_the_users(hooks: dict[int, Any]) -> dict[int, Any]:
    """Those that compute a weight (weight norm, pruning) are a part of the forward; all others are the user's."""
    kept = ((key, hook) for key, hook in hooks.items() if type(hook).__module__.startswith("torch.nn.utils."))
    return collections.OrderedDict(kept)


def _restore_dict(now: MutableMapping[Any, Any], before: dict[Any, Any]) -> None:
    # Entry by entry: an object's own dictionary that was emptied once is slower ever after.
    for name in [name for name in now if name not in before]:
        del now[name]
    for name, value in before.items():
        if name not in now or now[name] is not value:
            now[name] = value
    if list(now) != list(before):
        now.clear()
        now.update(before)


def _restore_list(now: Any, before: list[object]) -> None:
    if len(now) != len(before) or any(one is not other for one, other in zip(now, before, strict=True)):
        now.clear()
        now.extend(before)


def _restore_plain(now: Any, before: Any) -> None:
    if now != before:
        now.clear()
        (now.update if isinstance(now, set) else now.extend)(before)


def _same_array(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
