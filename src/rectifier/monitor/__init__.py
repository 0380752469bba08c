"""Watching a training: counters per unit on the device, read now and then, cheap enough to be always on.

Each name loads on first use: a training needs neither the census nor the probe.
"""

from typing import TYPE_CHECKING

from rectifier._lazy import on_first_use

if TYPE_CHECKING:
    from rectifier.monitor.probe.census import count_units as count_units
    from rectifier.monitor.probe.check import probe_model as probe_model
    from rectifier.monitor.training.live import log as log
    from rectifier.monitor.training.monitor import Monitor as Monitor
    from rectifier.monitor.training.sinks import MemorySink as MemorySink
    from rectifier.monitor.training.sinks import Sink as Sink
    from rectifier.monitor.training.watching import check_units as check_units
    from rectifier.monitor.training.watching import module_to_watch as module_to_watch

_NAMES = {
    "probe.census": "count_units",
    "training.live": "log",
    "training.monitor": "Monitor",
    "probe.check": "probe_model",
    "training.sinks": "MemorySink Sink",
    "training.watching": "check_units module_to_watch",
}

__getattr__ = on_first_use(globals(), _NAMES)
