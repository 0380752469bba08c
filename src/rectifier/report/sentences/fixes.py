"""What to type about a finding: a command of ours with the user's script, or a line of that script."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from rectifier.records import FixKind

_SCRIPT = "train.py"
"""Stands for the user's script: a process does not know how it was started."""
_SEED = re.compile(r"-{0,2}(\w+[-_.])*seed", re.IGNORECASE)


class Tool(StrEnum):
    """A command of ours that starts the user's script."""

    RUN = "run"
    EXPLAIN = "explain"
    COMPARE = "compare"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of ours about the user's script.

    Attributes:
        tool: Which.
        options: Ours, as they are typed.
    """

    tool: Tool
    options: str = ""

    def typed(self, script: Sequence[str]) -> str:
        """As it is typed.

        Args:
            script: The user's script and its options; empty where they are not known.

        Example:
            >>> print(Command(Tool.COMPARE).typed(["fit.py", "--seed", "3"]))
            rectifier compare fit.py --seed '{seed}'
            >>> print(Command(Tool.RUN, "--swap relu=elu").typed([]))
            rectifier run --swap relu=elu train.py
        """
        arguments = with_seeds(script) if self.tool is Tool.COMPARE else script
        parts = ("rectifier", self.tool, self.options, shlex.join(arguments) or _SCRIPT)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Naming:
    """A text that names commands.

    Attributes:
        text: With `{}` in the place of each.
        commands: They, in their order.
    """

    text: str
    commands: tuple[Command, ...]

    def typed(self, script: Sequence[str]) -> str:
        """With the commands as they are typed; see `Command.typed`."""
        return self.text.format(*(command.typed(script) for command in self.commands))


Text = str | Command | Naming
"""What may name the user's script."""

EXPLAIN = Command(Tool.EXPLAIN)
COMPARE = Command(Tool.COMPARE)
_FIXES: dict[FixKind, Text] = {
    FixKind.COMPARE: COMPARE,
    FixKind.SWAP_RELU6: Command(Tool.RUN, "--swap relu6=leaky_relu:0.1"),
    FixKind.RUN: Command(Tool.RUN),
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


def typed(text: Text, script: Sequence[str] = ()) -> str:
    """A text as the user reads it, its commands with the user's own script.

    Args:
        text: Of any kind; a plain one stays as it is.
        script: The user's script and its options; empty where they are not known.
    """
    return text if isinstance(text, str) else text.typed(script)


def fix_text(kind: FixKind, script: Sequence[str] = ()) -> str:
    """The command, or the line of the script, as it is typed.

    Args:
        kind: Which.
        script: The user's script and its options; empty where they are not known.

    Example:
        >>> fix_text(FixKind.COMPARE, ["fit.py", "--lr", "0.1"])
        'rectifier compare fit.py --lr 0.1'
        >>> fix_text(FixKind.STEP_OPTIMIZER)
        'optimizer.step()'
    """
    return typed(_FIXES[kind], script)


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
