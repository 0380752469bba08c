"""Since when units and layers are silent, and how well that is known."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeSilence:
    """Since when no unit of a layer has fired.

    Attributes:
        last_fired: Last observed step at which any did; -1 for never.
        known_within_steps: Between that step and the next observation.
        first_observed_step: The first step that was observed at all.
    """

    last_fired: int
    known_within_steps: int
    first_observed_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """Since when units are silent.

    Attributes:
        born_dead: Units that never fired.
        died: Units that did; the steps are those at which they last fired.
        died_known_within_steps: The most steps between a last firing and the next observation.
        died_at_once: Whether almost a whole layer fell silent between two observations.
        first_observed_step: The first step that was observed at all.
    """

    born_dead: int
    died: int
    first_observed_step: int
    died_first_step: int | None = None
    died_median_step: int | None = None
    died_last_step: int | None = None
    died_known_within_steps: int | None = None
    died_at_once: bool = False
