"""What was changed while a training ran: when, what became of it, and on the axis of steps."""

from dataclasses import replace

import numpy as np

from rectifier.records import Series, Treated
from rectifier.report.figures.drawing import GREEN
from rectifier.report.figures.training import series_curves, silent_map
from rectifier.report.sentences.treated import treated_lines
from tests.report.builders import diagnosed, make_process, make_run


def treated(*changes, losses=None):
    process = replace(make_process(), treated=changes)
    if losses is not None:
        first, *others = process.snapshots
        series = {"loss": Series(steps=np.arange(len(losses)), values=np.array(losses, float))}
        process = replace(process, snapshots=(replace(first, series=series), *(replace(s, series={}) for s in others)))
    return process


def test_the_units_that_fire_since_are_counted_from_their_last_firing():
    process, step = treated(), 9
    window = process.snapshots[-1].windows[1]
    fired = np.where(np.arange(len(window.last_fired)) % 3 == 0, step, step + 1)
    site = process.sites[window.site].ref.key
    last = replace(process.snapshots[-1], windows=(replace(window, last_fired=fired),))
    process = replace(process, snapshots=(*process.snapshots[:-1], last))
    change = Treated(step=step, name="recycle", text="some", units={site: tuple(range(len(fired)))})
    (line,) = treated_lines(replace(process, treated=(change,)))
    count = int((fired > step).sum())
    assert 0 < count < len(fired)
    assert line.startswith(f"After step {step:,}: some. Of the {len(fired)} recycled units, {count} fired since.")


def test_the_loss_is_averaged_on_both_sides_up_to_a_neighbour():
    losses = [8.0] * 3 + [4.0] * 4 + [1.0] * 200
    one, two = (Treated(step=step, name="rescale", text=f"at {step}") for step in (2, 6))
    first, second = treated_lines(treated(one, two, losses=losses))
    assert "The mean loss was 8 over the 3 steps before and 4 over the 4 steps after;" in first
    assert "The mean loss was 4 over the 4 steps before and 1 over the 100 steps after;" in second
    assert "what it would have been without is not known" in second
    (line,) = treated_lines(treated(Treated(step=206, name="rescale", text="late"), losses=losses))
    assert line == "After step 206: late."


def test_the_figures_mark_it_on_the_axis_of_steps():
    process = treated(Treated(step=30, name="recycle", text="some"), Treated(step=90, name="recycle", text="more"))
    _, (diagnosis,) = diagnosed(make_run(process))
    figures = [silent_map(diagnosis, process.treated), *(f for _, f in series_curves(process, diagnosis))]
    for figure in figures:
        marks = [shape.x0 for shape in figure.layout.shapes if shape.line.color == GREEN]
        assert marks == [30.5, 90.5]
        assert (
            "Dashed: changed while it trained, after step 30 (recycle), after step 90 (recycle)." in figure.layout.meta
        )
    assert "Dashed" not in silent_map(diagnosis).layout.meta
