"""Watching a training: counters per unit on the device, read now and then, cheap enough to be always on.

Each name loads on first use: a training needs neither the census nor the probe.
"""

from typing import TYPE_CHECKING

from rectifier.lazily import on_first_use

if TYPE_CHECKING:
    from rectifier.monitor.census import count_units as count_units
    from rectifier.monitor.monitor import Monitor as Monitor
    from rectifier.monitor.monitor import log as log
    from rectifier.monitor.preflight import probe as probe
    from rectifier.monitor.sinks import MemorySink as MemorySink
    from rectifier.monitor.sinks import Sink as Sink
    from rectifier.monitor.watching import check_units as check_units
    from rectifier.monitor.watching import module_to_watch as module_to_watch

_NAMES = {
    "census": ("count_units",),
    "monitor": (
        "Monitor",
        "log",
    ),
    "preflight": ("probe",),
    "sinks": (
        "MemorySink",
        "Sink",
    ),
    "watching": (
        "check_units",
        "module_to_watch",
    ),
}
_HOMES = {name: f"rectifier.monitor.{module}" for module, names in _NAMES.items() for name in names}

__getattr__ = on_first_use(globals(), _HOMES)
