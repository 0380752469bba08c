"""When a window ends, and what is handed to the sink: finished windows, the unfinished one, and what came too early."""

import os
import time
from collections.abc import Iterable

import torch

from rectifier.hooks.ranks import rank_and_world_size
from rectifier.monitor.training.numbers import Numbers
from rectifier.monitor.training.outputs import OutputRecords
from rectifier.monitor.training.parameters.records import ParameterRecords
from rectifier.monitor.training.sinks import Sink
from rectifier.monitor.training.sites.models import ModelRecords
from rectifier.monitor.training.steps.schedule import Schedule
from rectifier.records import Fact, Feeds, Recorder, Restarted, Snapshot, Treated, Unfinished, Unseen, Writer

_SECONDS_BETWEEN_WRITES = 1.0
# Where steps are rarely observed, a killed run must still not be far behind.
_MOST_SECONDS_BETWEEN_WRITES = 4.0
# Writing shall take no more than an eighth of a percent of the time ...
_CHEAP_TIMES_A_WRITE = 800
# ... but where reading takes a second, for thousands of layers, a twentieth is the limit.
_TIMES_A_WRITE = 20
_WINDOW_GROWTH = 1.1
_FIRST_WINDOWS = 4
# Once so many windows of single units are kept, which is some 30 MB, one is added each time the steps double. A hundred
# thousand units reach that after ten windows, ten thousand after a million steps.
_MOST_UNIT_WINDOWS = 1_000_000


class Windows:
    """Hands what was counted to a sink.

    Attributes:
        due: When the unfinished window is to be written again, on the clock of `time.perf_counter`.
        left_alone: Steps so far at which something was not observed, by who recorded what was computed.
    """

    def __init__(
        self,
        sink: Sink,
        models: ModelRecords,
        schedule: Schedule,
        numbers: Numbers,
        parameters: ParameterRecords,
        outputs: OutputRecords,
    ) -> None:
        self._sink, self._models, self._schedule, self._numbers = sink, models, schedule, numbers
        self._parameters, self._outputs = parameters, outputs
        self._feeds_told = 0
        self.due = 0.0
        self.left_alone: dict[Recorder, int] = {}
        self._last_write = self._write_seconds = 0.0
        self._end = self._earliest_end = 0
        self._unit_windows = 0
        self._opened = False
        self._unseen: set[Unseen] = set()
        self._treated_early: list[Treated] = []

    def begin_again(self, numbers: Numbers) -> None:
        """Begin in a forked child, which writes for itself."""
        self._numbers = numbers
        self._opened = False
        self._feeds_told = 0
        self.left_alone = {}
        self.due = self._last_write = self._write_seconds = 0.0
        self._unit_windows = self._end = self._earliest_end = 0

    def restart(self) -> None:
        """Take back what has been told."""
        if self._opened:
            self._sink.record(Restarted())

    def note_unseen(self, found: Iterable[Unseen]) -> None:
        """Tell what was not observed, each thing once."""
        for unseen in found:
            if unseen not in self._unseen:
                self._unseen.add(unseen)
                if self._opened:
                    self._sink.record(unseen)

    def keep_treated(self, treated: Treated) -> None:
        """Tell a change of the model, as soon as there is somebody to tell."""
        if self._opened:
            self._sink.record(treated)
        else:
            self._treated_early.append(treated)

    def may_end(self, step: int) -> bool:
        """Whether the window may end with this step."""
        return step >= self._end

    def end(self, step: int, elapsed: float) -> None:
        """End the window with this step."""
        self.write(step + 1, elapsed, finished=True)
        self._end = max(step + _FIRST_WINDOWS, int(step * _WINDOW_GROWTH))

    def finish(self, steps: int, elapsed: float) -> None:
        """Hand over what is left."""
        self._earliest_end = 0
        self.write(steps, elapsed, finished=True)

    def write(self, steps: int, elapsed: float, *, finished: bool) -> None:
        """Read the counters and hand them over.

        Args:
            steps: Steps so far.
            elapsed: How long they took.
            finished: Whether the window ends; where windows are dear, one that could end goes on.
        """
        if not self._opened:
            self._open()
        finished = finished and steps >= self._earliest_end
        now = time.perf_counter()
        # What other programs take of the processor is not what a write costs.
        began = time.thread_time()
        windows = self._models.read(finished=finished)
        samples = self._models.only_samples
        if len(self._models.feeds) > self._feeds_told:
            self._feeds_told = len(self._models.feeds)
            self._sink.record(Feeds(pairs=tuple(sorted(self._models.feeds))))
        snapshot = Snapshot(
            step=max(steps - 1, 0),
            seconds=elapsed,
            windows=windows,
            series=self._numbers.collect(steps),
            cost=self._schedule.cost(steps, elapsed),
            distinct_samples=samples.count if samples else None,
            whole_pass=self._models.whole_pass(samples.count if samples else None),
            visits_since_new=samples.visits_since_new if samples else 0,
            input_rms=samples.rms if samples else None,
            input_offset=samples.offset if samples else None,
            sparse=self._unit_windows > _MOST_UNIT_WINDOWS,
            left_alone=dict(self.left_alone),
            parameters=self._parameters.read(steps),
            outputs=self._outputs.read(finished=finished),
            inputs=samples.facts if samples else None,
            models=self._models.roots.states,
        )
        if finished:
            self._sink.record(snapshot)
            self._numbers.begin_window()
            self._unit_windows += sum(len(window.fired) for window in windows)
            if self._unit_windows > _MOST_UNIT_WINDOWS:
                self._earliest_end = 2 * steps
        else:
            self._sink.record(Unfinished(snapshot))
        self._last_write = now
        self._write_seconds = time.thread_time() - began

    def wait(self, *, armed: bool) -> None:
        """Say when the unfinished window is due; `armed` tells whether the coming step is observed."""
        self.due = self._last_write + self.patience(armed=armed)

    def patience(self, *, armed: bool) -> float:
        """Seconds after the last write until the unfinished window is written again."""
        usual = _SECONDS_BETWEEN_WRITES if armed else _MOST_SECONDS_BETWEEN_WRITES
        cheap = min(_CHEAP_TIMES_A_WRITE * self._write_seconds, _MOST_SECONDS_BETWEEN_WRITES)
        return max(usual, cheap, _TIMES_A_WRITE * self._write_seconds)

    def _open(self) -> None:
        self._opened = True
        rank, world_size = rank_and_world_size()
        self._sink.record(
            Writer(
                pid=os.getpid(),
                rank=rank,
                world_size=world_size,
                torch=str(torch.__version__),
                device=self._models.device,
                replica=world_size > 1 and self._models.are_replicas,
            )
        )
        early: tuple[Fact, ...] = (*self._unseen, *self._treated_early)
        for fact in early:
            self._sink.record(fact)
        self._treated_early.clear()
