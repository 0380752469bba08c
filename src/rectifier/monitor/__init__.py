"""Watching a training: counters per unit on the device, read now and then, cheap enough to be always on."""

from rectifier.monitor.census import count_units as count_units
from rectifier.monitor.monitor import Monitor as Monitor
from rectifier.monitor.monitor import log as log
from rectifier.monitor.preflight import probe as probe
from rectifier.monitor.sinks import MemorySink as MemorySink
from rectifier.monitor.sinks import Sink as Sink
from rectifier.monitor.watching import check_units as check_units
from rectifier.monitor.watching import module_to_watch as module_to_watch
