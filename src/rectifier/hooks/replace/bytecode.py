"""What a piece of compiled Python code loads, in the order of the code: names and the attributes taken from them."""

import dis
import functools
import os
import types
from dataclasses import dataclass

# Instructions between a name and an attribute of it that do nothing to the value.
_STILL = frozenset({"CACHE", "PRECALL", "PUSH_NULL", "NOP", "EXTENDED_ARG"})
_STARTS = (
    ("LOAD_GLOBAL", "global"), ("LOAD_NAME", "global"), ("LOAD_DEREF", "cell"), ("LOAD_CLASSDEREF", "cell"),
    ("LOAD_FROM_DICT_OR_DEREF", "cell"), ("LOAD_FAST", "local"),
)  # fmt: skip
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "LOAD_SUPER_METHOD")


@dataclass(frozen=True, slots=True)
class Load:
    """One value the code takes up.

    Attributes:
        base: Where its first name is looked up: `global`, `cell` (a closure's variable), `local`, or `value` for the
            result of an expression, which has no name.
        names: `("F", "relu")` for `F.relu`; without a first name where the base is `value`.
        line: Line number in the file.
    """

    base: str
    names: tuple[str, ...]
    line: int


@functools.lru_cache(maxsize=8192)
def loads(code: types.CodeType) -> tuple[Load, ...]:
    """Every value that the code takes up, without that of the functions defined in it.

    Example:
        >>> def forward(self, x):
        ...     return F.relu(self.fc(x)).tanh()
        >>> [".".join(load.names) for load in loads(forward.__code__)]
        ['F.relu', 'self.fc', 'x', 'tanh']
    """
    found: list[Load] = []
    base: str | None = None
    names: list[str] = []
    line = code.co_firstlineno

    def finish() -> None:
        nonlocal base
        if base is not None and names:
            found.append(Load(base, tuple(names), line))
        base = None

    for instruction in dis.get_instructions(code):
        if instruction.opname in _STILL:
            continue
        if instruction.opname in _ATTRIBUTES:
            if base is None:
                base, names = "value", []
            names.append(str(instruction.argval))
        else:
            finish()
            base = next((kind for start, kind in _STARTS if instruction.opname.startswith(start)), None)
            if base is not None:
                # Newer interpreters load two local variables at once; an attribute belongs to the second.
                value = instruction.argval
                names = [str(value[-1] if isinstance(value, tuple) else value)]
        where = instruction.positions
        line = where.lineno if where is not None and where.lineno is not None else line
    finish()
    return tuple(found)


def place(code: types.CodeType, line: int) -> str:
    """`file.py:31`, as a reader looks it up."""
    return f"{os.path.basename(code.co_filename)}:{line}"


def nested(code: types.CodeType) -> list[types.CodeType]:
    """The functions, lambdas and comprehensions defined directly in the code."""
    return [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
