"""`--max-steps`: a training that we end is an outcome like any other, however its script takes to being left."""

from dataclasses import replace

import pytest

from rectifier.comparison.question import Question
from rectifier.comparison.script.trial import ScriptLauncher
from rectifier.storage.runs import read_run

QUESTION = Question(
    command=("script.py", "{trial_dir}"),
    script=None,
    arms=("elu:1.0",),
    seeds=1,
    metric="score",
    summary="final",
    higher_is_better=True,
    margin=None,
    threads=1,
)
STEPS = 7

HEAD = """
import atexit, sys, threading
import torch, rectifier
def say(text):
    with open(sys.argv[1] + "/said", "a") as file:
        file.write(text + " ")
def train(steps=23, second=False):
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.01) for _ in range(1 + second)]
    inputs = torch.randn(11, 3)
    for step in range(steps):
        loss = (model(inputs) - inputs.abs().sum(1, keepdim=True)).square().mean()
        optimizers[0].zero_grad()
        loss.backward()
        rectifier.log("score", step)
        for optimizer in optimizers:
            optimizer.step()
"""
PLAIN = """
atexit.register(say, "exits")
try:
    train()
except Exception:
    say("caught")
finally:
    say("finally")
say("after")
"""
STUBBORN = """
for attempt in range(3):
    try:
        train(second=True)
    except BaseException as error:
        say(type(error).__name__)
sys.exit(7)
"""
IN_A_THREAD = """
thread = threading.Thread(target=train)
thread.start()
thread.join()
say("joined")
threading.Event().wait(60)
"""
IN_A_CHILD = """
import torch.multiprocessing
if __name__ == "__main__":
    torch.multiprocessing.spawn(started, nprocs=1)
    say("parent")
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN, "finally exits "),
        (STUBBORN, "SystemExit SystemExit SystemExit "),
        (IN_A_THREAD, None),
        ("def started(rank):\n    train()\n    say('child')\n" + IN_A_CHILD, "parent "),
    ],
    ids=["plain", "stubborn", "thread", "spawned child"],
)
def test_a_training_is_ended_at_its_step_and_counts(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(HEAD + text)
    (tmp_path / "trial").mkdir()
    question = replace(QUESTION, max_steps=STEPS)
    trial = ScriptLauncher(timeout=30)(next(question.plan()), question, tmp_path / "trial")
    assert (trial.failed, trial.metric) == (None, STEPS - 1)
    run = read_run(tmp_path / "trial" / "run")
    (process,) = run.processes
    assert process.series("loss").steps.tolist() == list(range(STEPS))
    assert run.notes["stopped"] == f"after {STEPS} steps"
    assert process.warnings == ()
    told = tmp_path / "trial" / "files" / "said"
    assert (told.read_text() if told.exists() else None) == said
    if text == PLAIN:
        # The steps are those of the training that is not ended, to the bit.
        (tmp_path / "whole").mkdir()
        question = replace(QUESTION, max_steps=None)
        whole = ScriptLauncher()(next(question.plan()), question, tmp_path / "whole")
        (undisturbed,) = read_run(tmp_path / "whole" / "run").processes
        assert whole.metric == 22
        assert undisturbed.series("loss").values[:STEPS].tolist() == process.series("loss").values.tolist()
