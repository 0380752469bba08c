"""Results on disk: the one folder that writes run folders and reads them back.

The names below load on first use (PEP 562): `rectifier run` makes its folder and starts the script before anything
that reads or writes facts is imported.
"""

from typing import TYPE_CHECKING

from rectifier._lazy import on_first_use

if TYPE_CHECKING:
    from rectifier.storage.explanations import explanation_of as explanation_of
    from rectifier.storage.explanations import is_explanation as is_explanation
    from rectifier.storage.explanations import read_explanation as read_explanation
    from rectifier.storage.explanations import write_explanation as write_explanation
    from rectifier.storage.folders import create_run_folder as create_run_folder
    from rectifier.storage.runs import is_run_folder as is_run_folder
    from rectifier.storage.runs import read_run as read_run
    from rectifier.storage.writing import RunWriter as RunWriter
    from rectifier.storage.writing import write_manifest as write_manifest
    from rectifier.storage.writing import write_note as write_note
    from rectifier.storage.writing import write_outcome as write_outcome

_NAMES = {
    "explanations": "explanation_of is_explanation read_explanation write_explanation",
    "folders": "create_run_folder",
    "runs": "is_run_folder read_run",
    "writing": "RunWriter write_manifest write_note write_outcome",
}

__getattr__ = on_first_use(globals(), _NAMES)
