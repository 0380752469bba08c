"""What to type about a finding."""

from rectifier.records import FixKind

SCRIPT = "train.py"
"""Stands for the user's script: a process does not know how it was started."""

_COMMANDS = {
    FixKind.COMPARE: "rectifier compare",
    FixKind.SWAP_RELU6: "rectifier run --swap relu6=leaky_relu:0.1",
    FixKind.RUN: "rectifier run",
}


def command(kind: FixKind, script: str = SCRIPT) -> str:
    """The command, as it is typed.

    Args:
        kind: Which.
        script: The user's script and its options.

    Example:
        >>> command(FixKind.COMPARE, "fit.py --lr 0.1")
        'rectifier compare fit.py --lr 0.1'
    """
    return f"{_COMMANDS[kind]} {script}"
