"""Trainings in which nothing is wrong, and which must stay silent: usual ones, odd ones, and failures once mended."""

from functools import partial

from failures import REBUILT

from controls.control import Control
from controls.loops import LOOPS
from controls.networks import NETWORKS
from controls.usual import USUAL

MENDED = [Control(f"{case.name}, mended", partial(case.start, mended=True), case.steps, case.floor) for case in REBUILT]
CONTROLS = [*USUAL, *LOOPS, *NETWORKS, *MENDED]

__all__ = ["CONTROLS", "Control"]
