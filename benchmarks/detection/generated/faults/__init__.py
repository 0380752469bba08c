"""Faults by name."""

from generated.faults import data, numbers, outputs, rates, start, wiring
from generated.faults.kinds import Fault

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (*rates.FAULTS, *start.FAULTS, *data.FAULTS, *wiring.FAULTS, *outputs.FAULTS, *numbers.FAULTS)
}

__all__ = ["FAULTS", "Fault"]
