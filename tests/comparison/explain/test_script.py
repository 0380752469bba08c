"""Trials of a script: forked where nobody can tell, else new processes."""

import itertools
import sys

import pytest

from rectifier.comparison.explain.trials.reading import looks
from rectifier.comparison.explain.trials.script import ScriptTrials
from rectifier.comparison.explain.trials.trial import Ask, same_losses
from rectifier.comparison.script.trial import last_error
from rectifier.diagnosis import thresholds as limit
from rectifier.launch.forking.client import CannotFork, Forking
from rectifier.records import Change, Intervention

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="trials are forked on Linux only")

FIT = """
import torch
model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(40):
    x = torch.randn(32, 5)
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True)).backward()
    optimizer.step()
"""


@pytest.fixture
def trials(tmp_path, monkeypatch):
    (tmp_path / "fit.py").write_text(FIT)
    monkeypatch.chdir(tmp_path)
    one = ScriptTrials(command=("fit.py",), folder=tmp_path / "kept", own_seed=3)
    yield one
    one.close()


def test_trials_after_the_first_are_forked_and_the_same_to_the_bit(trials, monkeypatch):
    forked = []
    run = Forking.run
    monkeypatch.setattr(Forking, "run", lambda self, *asked, **how: (forked.append(1), run(self, *asked, **how))[1])
    plain = trials(Ask())
    assert not forked
    again = trials(Ask(stop_after=30))
    assert same_losses(plain, again)
    assert len(forked) == 1
    other = trials(Ask(seed=1, stop_after=30))
    assert not same_losses(plain, other)
    changed = trials(Ask(intervention=Intervention(Change.LEARNING_RATE_TENTH), stop_after=30))
    assert changed.applied.times == 30
    assert len(forked) == 3


def test_what_is_not_the_same_when_forked_is_run_as_a_new_process(trials, monkeypatch):
    """Planted: a fork in which the training draws other numbers."""
    run = Forking.run
    monkeypatch.setattr(
        Forking, "run", lambda self, launch, *asked, **how: run(self, launch._replace(seed=99), *asked, **how)
    )
    plain, again = trials(Ask()), trials(Ask(stop_after=30))
    assert same_losses(plain, again)
    assert not trials._fork
    trials(Ask(seed=1, stop_after=30))


def test_where_nothing_can_be_forked_new_processes_are_started(trials, monkeypatch):
    def refuse(self, launch):
        raise CannotFork("planted")

    monkeypatch.setattr(Forking, "__init__", refuse)
    assert same_losses(trials(Ask()), trials(Ask(stop_after=30)))


def test_a_trial_that_has_shown_enough_ends(trials, tmp_path):
    (tmp_path / "fit.py").write_text(
        FIT.replace("    x =", "    __import__('time').sleep(0.05)\n    x =").replace("40", "4000")
    )
    seen = []
    shown = trials(Ask(stop_after=3000, enough=lambda so_far: seen.append(so_far.steps) or so_far.steps >= 5))
    assert seen[-1] >= 5
    assert 5 <= shown.steps < 400
    assert not shown.crashed


def test_looks_back_are_close_together_in_steps():
    steps = sorted({int(1.1**number) for number in range(80)})
    counts = list(looks(steps))
    assert counts[0] == len(steps)
    assert counts[-1] == 1
    seen = [steps[count - 1] for count in counts]
    assert all(later > earlier >= later / 1.4 - 0.12 * later - 1 for later, earlier in itertools.pairwise(seen))


@pytest.mark.parametrize("change", [Change.PLACEBO, Change.SKIP_NONFINITE])
def test_a_trial_ends_after_ten_losses_in_a_row_that_are_not_finite(trials, tmp_path, change):
    # Single losses before them are left as they come; what is added to a loss changes no weight.
    loss = "torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))"
    bad = f"({loss} + (float('nan') if step in (3, 5) or 20 <= step < 45 else 0.0))"
    (tmp_path / "fit.py").write_text(FIT.replace(loss, bad).replace("40", "90"))
    assert len(trials(Ask()).losses) == 90, "the user's own run goes on"
    shown = trials(Ask(intervention=Intervention(change), stop_after=80))
    assert not shown.crashed
    if change is Change.PLACEBO:
        assert 20 + limit.EXPLAIN_NONFINITE <= len(shown.losses) <= 21 + limit.EXPLAIN_NONFINITE
    else:
        # What is left out is no step, and has no loss; the trial lives to see what comes after it.
        assert len(shown.losses) > 18 + 30


def test_what_a_script_said_as_it_ended_is_the_line_of_the_exception(tmp_path):
    def said(text):
        (tmp_path / "output.txt").write_text(text)
        return last_error(tmp_path)

    head = 'Traceback (most recent call last):\n  File "fit.py", line 3, in <module>\n    f()\n'
    assert said(f"step 1\n{head}KeyError: 'x'\n") == "KeyError: 'x'"
    assert said(f"{head}KeyError: 'x'\n\nDuring ...:\n\n{head}ValueError: two\nlines\n") == "ValueError: two"
    assert said("usage: fit.py\nfit.py: error: no data\n") == "fit.py: error: no data"
    assert said("") == ""
