"""Names for an optimizer's numbered parameters: found exactly where one assignment fits, against brute force."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.checkpoints.matching import TooMany, assign


def every_way(names, groups, skipping):
    """All assignments of names to groups, tried one by one."""
    ways = []
    for choice in product(range(-1 if skipping else 0, len(groups)), repeat=len(names)):
        taken = [[names[n] for n, c in enumerate(choice) if c == group] for group in range(len(groups))]
        if all(
            len(t) == len(g) and all(b in (None, a) for a, b in zip(t, g, strict=True))
            for t, g in zip(taken, groups, strict=True)
        ):
            ways.append(choice)
    return ways


shapes = st.sampled_from([(2, 3), (3, 3), (2,), (3,)])


@given(
    names=st.lists(shapes, min_size=1, max_size=5),
    groups=st.lists(st.lists(st.one_of(shapes, st.none()), min_size=1, max_size=3), min_size=1, max_size=2),
    skipping=st.booleans(),
)
def test_what_all_ways_agree_on_is_found_and_nothing_else(names, groups, skipping):
    ways = every_way(names, groups, skipping)
    found = assign(names, groups, skipping=skipping)
    if not ways:
        assert found is None
        return
    for number, step in enumerate(found):
        choices = {way[number] for way in ways}
        positions = {way[:number].count(way[number]) for way in ways}
        if choices == {-1} or len(choices) > 1 or len(positions) > 1:
            assert step is None
        else:
            assert step == (choices.pop(), positions.pop())


def test_a_large_model_with_the_usual_two_groups_is_no_search():
    block = [(64, 64), (64,), (256, 64), (256,), (64, 256), (64,), (64,), (64,)]
    names = [(1000, 64), *block * 200, (64,)]
    matrices = [shape for shape in names if len(shape) == 2]
    vectors = [shape for shape in names if len(shape) == 1]
    found = assign(names, [matrices, vectors])
    assert [step[0] for step in found] == [len(shape) == 1 for shape in names]


def test_too_many_ways_end_soon():
    with pytest.raises(TooMany):
        assign([(3, 3)] * 300, [[(3, 3)] * 50] * 6)
