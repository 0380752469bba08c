"""`rectifier check`: one forward and one backward pass of an untrained network, before any time is spent on it."""

import json
import sys
from collections.abc import Iterable
from typing import Any

import click

from rectifier.cli.gate import allow_unjudged_option, fail_on_option, gate, suppress_option
from rectifier.cli.named import made_by, told
from rectifier.errors import CannotProbe
from rectifier.records import Severity
from rectifier.report.json.documents import check_json
from rectifier.report.text.probes import print_check
from rectifier.report.text.terminal import echo, open_console


@click.command("check")
@click.argument("model", metavar="PACKAGE.MODULE:MODEL")
@click.option("--input", "shape", metavar="7,1,28,28", help="Shape of a batch of standard normal numbers to run on.")
@click.option(
    "--data",
    "loader",
    metavar="PACKAGE.MODULE:LOADER",
    help="Run on the first batch of a loader, or of what makes one.",
)
@click.option("--json", "machine", is_flag=True, help="Print JSON on standard output.")
@fail_on_option("warning")
@allow_unjudged_option
@suppress_option
def command(
    model: str,
    shape: str | None,
    loader: str | None,
    machine: bool,
    fail_on: Severity,
    allow_unjudged: bool,
    suppress: dict[str, str],
) -> None:
    """Check an untrained network with one forward and one backward pass; nothing is trained.

    MODEL is an object, or a function without arguments that makes it. The exit code is 0 where nothing is wrong, 10 for
    a finding of the severity of --fail-on, 11 where there is none but the units of a layer are unknown, and
    2 where the network cannot be run or has no activation that is seen.
    """
    if (shape is None) == (loader is None):
        raise click.UsageError("name either --input, the shape of a batch, or --data, a loader.")
    network = made_by(model, "a model")
    batch = _random(shape) if shape is not None else _first_batch(made_by(loader or "", "data"))
    from rectifier.api.probe import check_batch  # noqa: PLC0415 - `--help` never pays for torch

    found = check_batch(network, batch, suppress=suppress, measured=loader is not None)
    if machine:
        echo(json.dumps(check_json(found), indent=2, allow_nan=False))
    else:
        print_check(found, open_console())
    sys.exit(gate([found], fail_on, allow_unjudged=allow_unjudged))


def _random(shape: str) -> Any:
    import torch  # noqa: PLC0415 - see above

    try:
        sizes = [int(size) for size in shape.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise click.BadParameter(f"{shape!r} is no shape; write the sizes of a batch, for instance 7,1,28,28")
    try:
        return torch.randn(sizes, generator=torch.Generator().manual_seed(0))
    except (RuntimeError, TypeError, OverflowError, MemoryError):
        raise click.BadParameter(f"a batch of {shape} does not fit into this machine's memory") from None


def _first_batch(data: Any) -> Any:
    import torch  # noqa: PLC0415 - see above

    if isinstance(data, torch.Tensor | dict | tuple):
        return data
    if not isinstance(data, Iterable):
        raise CannotProbe(f"the data must be a batch or an iterable of batches; got a {type(data).__name__}.")
    try:
        return next(iter(data))
    except StopIteration:
        raise CannotProbe("the data hold no batch.") from None
    except Exception as error:
        raise CannotProbe(told("the data failed at their first batch", error)) from error
