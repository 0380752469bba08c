"""What a notebook shows of what the verbs return."""

import random
from collections.abc import Callable
from typing import Any

from rectifier.records import Comparison, Diagnosis, Explanation, shown_by


def as_html(name: str) -> Callable[..., str]:
    """A writer of `report.notebook`, loaded when a notebook asks for it."""

    def render(*facts: Any) -> str:
        stream = random.getstate()
        try:
            # As in __repr__: what is imported here may draw from the random stream, which is the user's.
            from rectifier.report import notebook  # noqa: PLC0415

            written: str = getattr(notebook, name)(*facts)
            return written
        finally:
            random.setstate(stream)

    return render


shown_by(Diagnosis, as_html("diagnosis_html"))
shown_by(Comparison, as_html("comparison_html"))
shown_by(Explanation, as_html("explanation_html"))
