"""What a checkpoint says of its network."""

from collections.abc import Mapping
from pathlib import Path

from rectifier.checkpoints import read_checkpoint
from rectifier.diagnosis import judge_checkpoint
from rectifier.records import Inspection
from rectifier.report.sentences import told


def inspect_checkpoint(
    path: str | Path, earlier: str | Path | None = None, *, suppress: Mapping[str, str] | None = None
) -> Inspection:
    """Tell from a checkpoint alone which units have not learned, and for how long: no model code, no data.

    A row of a weight is what leads into one unit. While a row has no gradient, what the optimizer remembers of it fades
    at a known pace, which is a clock: Adam's momentum tells up to about 700 steps, to some twenty steps; its second
    moment tells longer silences, and so does SGD's momentum or RMSprop's second moment, as long as the row's gradients
    were not a thousand times unlike those of the rows that still learn. Intervals hold under that assumption. "Without
    gradient" means without one of the usual size: a unit that still gets a hundred-thousandth of it counts as silent.

    Warning:
        A file holds neither activations nor data. A row without gradient is most often a dead unit, but may belong to a
        part that the loss does not reach; unused rows of an embedding are normal and not reported. Of weights alone,
        without an optimizer, only this is certain: behind a ReLU, inputs ≥ 0 never fire a unit that has no positive
        weight and no positive bias.

    The file is mapped, not loaded, and nothing in it is executed; a pickled module is therefore refused.

    Args:
        path: A state dict; a dictionary with one and the optimizer's under any names; a Lightning checkpoint; a
            safetensors file; or a folder as Hugging Face writes it.
        earlier: A checkpoint of the same training from before: rows with the same bits in both did not learn between.
        suppress: Known findings, by name and weight, with the reason: `{"silent-rows:head.*": "not trained yet"}`.

    Returns:
        Findings, most serious first; one row per weight; and what could not be told, and why.

    Raises:
        UnreadableCheckpoint: A file is missing, damaged, of another format, or cannot be opened without running code.
        CannotSuppress: `suppress` holds a name that no finding has, or no reason.

    Example:
        >>> import torch, rectifier
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
        >>> _ = torch.nn.init.constant_(model[0].bias[:2], -99.0)  # two units that never fire
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> for _ in range(150):
        ...     optimizer.zero_grad()
        ...     model(torch.randn(11, 3)).add(1).square().mean().backward()
        ...     _ = optimizer.step()
        >>> torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pt")
        >>> found = rectifier.inspect_checkpoint("checkpoint.pt")
        >>> found.findings[0].title, found.findings[0].units[:2]
        ('0.weight: 2 of 5 rows without gradient', (0, 1))
        >>> print(found.findings[0].detail)
        2 rows never had a gradient in 150 steps. Of these, 2 rows whose bias lies so far below 0 that ...
    """
    return told(judge_checkpoint(read_checkpoint(Path(path), None if earlier is None else Path(earlier)), suppress))
