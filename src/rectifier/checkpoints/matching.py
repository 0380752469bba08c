"""Whose state is it? torch numbers an optimizer's parameters; names come from order and shapes, if at all."""

from collections.abc import Iterator, Sequence

Shape = tuple[int, ...]

_MOST_POSITIONS = 4_096


Step = tuple[int, int]
"""A parameter group and a position in it."""


class TooMany(Exception):
    """There are too many ways to try them all."""


def assign(
    names: Sequence[Shape], groups: Sequence[Sequence[Shape | None]], *, skipping: bool = False
) -> list[Step | None] | None:
    """How parameter groups, each in the model's order, make up the weights of a state dict, where only one way fits.

    Warning:
        The order of the model is assumed within each group. That is how `model.parameters()` and every filter of it
        come out; a group that was shuffled by hand fits nothing, or is ambiguous where shapes repeat.

    Args:
        names: Shapes of the weights in the state dict's order.
        groups: For each group the shapes of its parameters; None where the optimizer holds no state to tell.
        skipping: Whether weights may belong to no group (buffers, and what is not trained).

    Returns:
        For each weight its group and position in it, None for one that every way skips, or that differs between the
        ways that fit; or None for all where nothing fits.

    Raises:
        TooMany: The search would not end soon.

    Example:
        >>> assign([(5, 3), (5,), (1, 5), (1,)], [[(5, 3), (1, 5)], [(5,), (1,)]])
        [(0, 0), (1, 0), (0, 1), (1, 1)]
    """
    needed = sum(len(group) for group in groups)
    if needed > len(names) or (needed < len(names) and not skipping):
        return None
    # How far each group may have been used up after so many weights.
    reached: list[set[tuple[int, ...]]] = [{tuple(0 for _ in groups)}]
    for number, shape in enumerate(names):
        spare = len(names) - number - needed
        after: set[tuple[int, ...]] = set()
        for position in reached[-1]:
            after.update(_moved(position, step) for step in _steps(position, shape, groups, spare + sum(position)))
        if len(after) > _MOST_POSITIONS:
            raise TooMany
        reached.append(after)
    good = {tuple(len(group) for group in groups)} & reached[-1]
    if not good:
        return None
    found: list[Step | None] = []
    for number in reversed(range(len(names))):
        ways, before, spare = set(), set(), len(names) - number - needed
        for position in reached[number]:
            for step in _steps(position, names[number], groups, spare + sum(position)):
                if _moved(position, step) in good:
                    ways.add(step)
                    before.add(position)
        found.append(ways.pop() if len(ways) == 1 else None)
        good = before
    return found[::-1]


def _steps(
    position: tuple[int, ...], shape: Shape, groups: Sequence[Sequence[Shape | None]], spare: int
) -> Iterator[Step | None]:
    if spare > 0:
        yield None
    for group, shapes in enumerate(groups):
        at = position[group]
        if at < len(shapes) and shapes[at] in (None, shape):
            yield group, at


def _moved(position: tuple[int, ...], step: Step | None) -> tuple[int, ...]:
    if step is None:
        return position
    return (*position[: step[0]], step[1] + 1, *position[step[0] + 1 :])
