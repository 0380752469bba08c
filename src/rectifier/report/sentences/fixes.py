"""What to type about a finding."""

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise

from rectifier.records import FixKind

SCRIPT = "train.py"
"""Stands for the user's script: a process does not know how it was started."""

_COMMANDS = {
    FixKind.COMPARE: "rectifier compare",
    FixKind.SWAP_RELU6: "rectifier run --swap relu6=leaky_relu:0.1",
    FixKind.RUN: "rectifier run",
}
_LINES = {
    FixKind.ADD_TO_OPTIMIZER: "optimizer = torch.optim.Adam(model.parameters())",
    FixKind.REGISTER_PARAMETERS: "self.layers = torch.nn.ModuleList(layers)",
    FixKind.STEP_OPTIMIZER: "optimizer.step()",
    FixKind.DRAW_WEIGHTS: "torch.nn.init.normal_(layer.weight, std=0.02)",
    FixKind.LARGER_EPSILON: "optimizer = torch.optim.Adam(model.parameters(), eps=1e-4)",
    FixKind.DETECT_ANOMALY: "torch.autograd.set_detect_anomaly(True)",
    FixKind.DROP_LAST: "torch.utils.data.DataLoader(dataset, drop_last=True)",
    FixKind.TRAIN_MODE: "model.train()",
    FixKind.CLIP_NORM: "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
}
"""Lines of the script, and not commands."""
_NAMED = re.compile(rf"(?P<before>\brectifier (?P<tool>run|explain|compare)\b[^`\n]*?){re.escape(SCRIPT)}(?![\w.])")
_SEED = re.compile(r"-{0,2}(\w+[-_.])*seed", re.IGNORECASE)


def command(kind: FixKind, script: str = SCRIPT) -> str:
    """The command, or the line of the script, as it is typed.

    Args:
        kind: Which.
        script: The user's script and its options.

    Example:
        >>> command(FixKind.COMPARE, "fit.py --lr 0.1")
        'rectifier compare fit.py --lr 0.1'
        >>> command(FixKind.STEP_OPTIMIZER)
        'optimizer.step()'
    """
    if kind in _LINES:
        return _LINES[kind]
    return f"{_COMMANDS[kind]} {script}"


def typed(text: str, command: Sequence[str]) -> str:
    """A text with the user's own script in the commands that it names; as it is where the script is not known.

    Args:
        text: In which `train.py` stands for the script.
        command: The script and its options; empty where it is not known.

    Example:
        >>> print(typed("Run `rectifier compare train.py`.", ["fit.py", "--seed", "3"]))
        Run `rectifier compare fit.py --seed '{seed}'`.
    """

    def own(found: re.Match[str]) -> str:
        arguments = with_seeds(command) if found["tool"] == "compare" else list(command)
        return f"{found['before']}{shlex.join(arguments)}"

    return _NAMED.sub(own, text) if command else text


def with_seeds(command: Sequence[str]) -> list[str]:
    """The command with `{seed}` in the place of a seed that was given, because a comparison trains with many."""
    arguments = list(command)
    for index, (option, value) in enumerate(pairwise(["", *command])):
        name, equals, given = value.partition("=")
        if equals and _SEED.fullmatch(name) and given.isdigit():
            arguments[index] = f"{name}={{seed}}"
        elif _SEED.fullmatch(option) and value.isdigit():
            arguments[index] = "{seed}"
    return arguments
