"""What the processes of a run say of themselves beside what they record."""

from enum import StrEnum


class RunNote(StrEnum):
    """What a child process says of itself, for the case that it never trains: names of notes."""

    TORCH = "torch"
    """It imported torch, of this version."""
    ACTIVATIONS = "activations"
    """An activation was called in a training forward."""
    STEPS = "steps"
    """An optimizer took a step."""
    LOOKED = "looked_for_dead_units"
    """How many times, with none that was confirmed."""
    LAST_LOOK = "last_look_for_dead_units"
    """After which step."""
    READS_INPUT = "reads_standard_input"
    """Its script reads standard input, and was given none: it is a trial."""
    NOT_TREATED = "not_treated"
    """A treatment that was asked for was refused."""

    @staticmethod
    def nothing_swapped(activation: str) -> str:
        """The note that a training with steps met none of an activation that was to be swapped."""
        return f"nothing_swapped {activation}"
