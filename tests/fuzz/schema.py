"""Facts as their types allow them, drawn by Hypothesis, that fit together as one process writes them."""

import dataclasses
import enum
import types
import typing
from functools import cache

import numpy as np
from hypothesis import strategies as st

from rectifier.records import (
    Applied,
    Feeds,
    Output,
    OutputWindow,
    Parameter,
    ParameterCounts,
    Series,
    Sight,
    Site,
    SiteWindow,
    Snapshot,
    Treated,
    Unseen,
)
from rectifier.storage.checking import _BY_STEP, _NOT_NEGATIVE

LATEST = 10_000
TEXT = st.text(max_size=8) | st.sampled_from(["relu", "loss", "fc1", "0", ""])
REALS = st.floats(allow_nan=True, allow_infinity=True)
NOT_NEGATIVE = st.floats(0) | st.just(float("nan"))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
WIDTH = st.integers(0, 4)


def of(kind, **known):
    """Values of a type; fields of a dataclass that are known come from strategies of their own."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        fields = {}
        for name, hint in _hints(kind).items():
            if name in known:
                fields[name] = known[name]
            elif not _is_array(hint):
                fields[name] = of(hint)
        return st.builds(kind, **fields)
    if origin is typing.Annotated:
        (bounds,) = kind.__metadata__
        if arguments[0] is float:
            return st.floats(bounds.ge, allow_infinity=False, allow_nan=False)
        return st.integers(bounds.ge, min(bounds.le, LATEST))
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(of, arguments))
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1:] == (...,):
        return st.lists(of(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(of, arguments))
    if origin is dict:
        return st.dictionaries(of(arguments[0]), of(arguments[1]), max_size=2)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    return {str: TEXT, bool: st.booleans(), int: st.integers(0, LATEST), float: FINITE, type(None): st.none()}[kind]


@cache
def _hints(kind):
    return typing.get_type_hints(kind, include_extras=True)


def _is_array(hint):
    return typing.get_origin(hint) is np.ndarray or any(map(_is_array, typing.get_args(hint)))


@st.composite
def numbers(draw, name, hint, length):
    """An array of the type that a field has, or nothing where that may be."""
    if type(None) in typing.get_args(hint) and draw(st.booleans()):
        return None
    array = hint if typing.get_origin(hint) is np.ndarray else typing.get_args(hint)[0]
    whole = array.__args__[1].__args__[0] is np.int64
    values = st.integers(-1, LATEST) if whole else NOT_NEGATIVE if name in _NOT_NEGATIVE else REALS
    found = draw(st.lists(values, min_size=length, max_size=length))
    return np.array(found, np.int64 if whole else np.float64)


@st.composite
def with_arrays(draw, kind, lengths, **known):
    """A fact with arrays; `lengths` gives the length of each by its name."""
    for name, hint in _hints(kind).items():
        if name not in known and _is_array(hint):
            known[name] = numbers(name, hint, lengths(name))
    return draw(of(kind, **known))


@st.composite
def ascending(draw, first, last, *, empty=False):
    """Steps of a window."""
    found = draw(st.sets(st.integers(first, last), min_size=0 if empty else 1, max_size=4))
    return np.array(sorted(found), np.int64)


@st.composite
def facts(draw):
    """Everything that one process may write, in an order in which it may come."""
    sites = draw(st.lists(of(Site, units=st.none() | WIDTH), max_size=3))
    outputs = draw(st.lists(of(Output), max_size=2))
    parameters = draw(st.lists(of(Parameter), max_size=3))
    found = [*sites, *outputs, *parameters]
    step = 0
    for _ in range(draw(st.integers(0, 3))):
        end = step + draw(st.integers(1, 30))
        found.append(draw(snapshots(sites, len(outputs), len(parameters), step, end)))
        step = end + 1
    if sites and draw(st.booleans()):
        index = st.integers(0, len(sites) - 1)
        found.append(Feeds(pairs=tuple(draw(st.lists(st.tuples(index, index), max_size=3)))))
    for kind in (Unseen, Treated, Applied, Sight):
        found += draw(st.lists(of(kind), max_size=1))
    return found


@st.composite
def snapshots(draw, sites, outputs, parameters, first, last):
    """What was counted from one step to another."""
    windows = []
    for index in range(len(sites)):
        if draw(st.booleans()):
            steps, units = draw(ascending(first, last)), sites[index].units or 0
            windows.append(
                draw(
                    with_arrays(
                        SiteWindow,
                        lambda name, steps=steps, units=units: len(steps) if name in _BY_STEP else units,
                        site=st.just(index),
                        steps=st.just(steps),
                    )
                )
            )
    read = []
    for index in range(outputs):
        steps = draw(ascending(first, last))
        known = {"output": st.just(index), "steps": st.just(steps)}
        read.append(draw(with_arrays(OutputWindow, lambda name, steps=steps: len(steps), **known)))
    series = {}
    for name in draw(st.sets(st.sampled_from(["loss", "accuracy", "\x1b[2J", "="]), max_size=2)):
        steps = draw(ascending(first, last, empty=True))
        values = draw(st.lists(REALS, min_size=len(steps), max_size=len(steps)))
        series[name] = Series(steps=steps, values=np.array(values, float), every=draw(st.integers(1, 9)))
    counts = st.none()
    if parameters:
        known = draw(st.integers(0, parameters))
        of_none = st.just(np.full(known, -1, np.int64))
        counts = st.none() | with_arrays(ParameterCounts, lambda name: known, optimizer=of_none)
    return draw(
        of(
            Snapshot,
            step=st.just(last),
            windows=st.just(tuple(windows)),
            outputs=st.just(tuple(read)),
            series=st.just(series),
            parameters=counts,
        )
    )
