"""`rectifier inspect`: what a checkpoint says about its units, without its code and without data."""

import json
import sys
from pathlib import Path

import click

from rectifier.cli.gate import fail_on_option, gate, suppress_option
from rectifier.records import Severity
from rectifier.report.json.documents import inspection_json
from rectifier.report.text.checkpoint import print_inspection
from rectifier.report.text.terminal import echo, open_console

_EPILOG = """\b
Examples:
  rectifier inspect checkpoint.pt                 a state dict, or one beside the optimizer's
  rectifier inspect epoch=9.ckpt                  Lightning
  rectifier inspect output/checkpoint-500         Hugging Face: model.safetensors, optimizer.pt
  rectifier inspect step-2000.pt step-1000.pt     which rows did not move in between
  rectifier inspect checkpoint.pt --json | jq .worst

For how long a row has had no gradient is read from the optimizer's memory, so save it beside the weights:
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pt"). Adam tells most;
SGD without momentum remembers nothing. "Without gradient" means without one of the usual size: a hundred-thousandth
of it counts as none.

Files are never executed. One that can only be opened by running code (a pickled module) is refused, with the line that
saves it again. Unused rows of an embedding are normal and are not reported.
"""


@click.command("inspect", epilog=_EPILOG)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("earlier", type=click.Path(path_type=Path), required=False)
@click.option("--all", "everything", is_flag=True, help="Name every weight in the table, remarkable or not.")
@click.option("--json", "machine", is_flag=True, help="Print JSON on standard output.")
@fail_on_option()
@suppress_option
def command(
    checkpoint: Path,
    earlier: Path | None,
    everything: bool,
    machine: bool,
    fail_on: Severity | None,
    suppress: dict[str, str],
) -> None:
    """Tell from a CHECKPOINT alone which units have not learned, and for how long.

    EARLIER is another checkpoint of the same training: rows that are the same in both, bit for bit, did not learn.
    The exit code is 10 for a finding of the severity of --fail-on, and 2 for a file that cannot be read.
    """
    from rectifier.api.checkpoint import inspect_checkpoint  # noqa: PLC0415 - torch takes its time, and `--help` does without

    found = inspect_checkpoint(checkpoint, earlier, suppress=suppress)
    if machine:
        echo(json.dumps(inspection_json(found), indent=2, allow_nan=False))
    else:
        print_inspection(found, open_console(), everything=everything)
    sys.exit(gate([found], fail_on))
