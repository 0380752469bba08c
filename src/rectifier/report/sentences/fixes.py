"""What to type about a finding."""

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
