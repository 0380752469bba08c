"""The demonstration is measured while you watch: nothing in it is scripted."""

import importlib
import io
import re
import sys
import time

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from rectifier import demo
from rectifier.datasets import MissingData
from rectifier.demo import ARMS, BASELINE, PLACEBO, command, run_demo, write_page
from rectifier.records import Failure, FailureKind
from tests.test_readme import EXCERPT

SEEDS = 11


def told(seed, **options):
    text = io.StringIO()
    found = run_demo(seed, console=Console(file=text, width=200), **{"seeds": SEEDS, "epochs": 4, **options})
    return found, text.getvalue()


def test_with_every_activation_replaced_by_relu_no_help_is_reported():
    found, _text = told(0, replace_all_by="relu")
    verdicts = {row.arm: row.verdict for row in found.comparison.arms}
    assert {verdicts[arm] for arm in ARMS} == {"identical"}
    assert verdicts[PLACEBO] == "undecided"
    assert found.comparison.smallest_n <= SEEDS, "a verdict was possible"
    assert not re.search(r"\bhelped\b|\bhurt\b", found.comparison.headline)
    assert all(" helped" not in row.sentence and " hurt" not in row.sentence for row in found.comparison.arms)
    assert "changed nothing at all" in found.comparison.headline


def test_numbers_follow_the_seed_and_text_follows_the_numbers():
    texts = []
    for seed in (0, 1):
        found, text = told(seed)
        rows = {row.arm: row for row in found.comparison.arms}
        failed = rows[BASELINE].failures
        sentence = re.search(r"(\d+|None) of (?:the )?(\d+) trainings ended as a constant", text)
        assert sentence.groups() == (str(failed) if failed else "None", str(SEEDS))
        assert failed == sum(
            trial.failed == Failure(FailureKind.CONSTANT_OUTPUT)
            for trial in found.comparison.trials
            if trial.arm == BASELINE
        )
        silent = re.search(r"fell silent in (\d+) of (\d+) trainings", text)
        assert (silent is None) == (not found.deaths.layers)
        if silent is not None:
            assert silent.groups() == (str(len(found.deaths.layers)), str(SEEDS))
            # A silent layer makes the output a constant; layers whose few live units never switch do so, too.
            assert len(found.deaths.layers) <= failed
        for row in found.comparison.arms:
            assert f"failures {row.failures} of {SEEDS}" in row.sentence
        assert set(found.curves) == {BASELINE, *ARMS, PLACEBO}
        assert all(len(curves) == SEEDS and len(curves[0].values) == 4 for curves in found.curves.values())
        texts.append(text)
    assert texts[0] != texts[1]


def test_the_same_seed_gives_the_same_numbers():
    assert told(3, seeds=3, epochs=1)[0].comparison.trials[0].fingerprint is not None
    one, two = told(3, seeds=3, epochs=1), told(3, seeds=3, epochs=1)
    assert list(one[0].comparison.arms) == list(two[0].comparison.arms)
    assert [t.fingerprint for t in one[0].comparison.trials] == [t.fingerprint for t in two[0].comparison.trials]


def test_threads_are_put_back():
    before = torch.get_num_threads()
    told(0, seeds=1, epochs=1)
    assert torch.get_num_threads() == before


def masked(text):
    """A text without its numbers, verdicts and line breaks: another machine rounds differently."""
    text = re.sub(r"[-+]?\d[\d.,e+-]*%?( to [-+]?\d[\d.,e+-]*%?)?", "#", text)
    text = re.sub(r"\b(helped|hurt|undecided)\b", "verdict", text)
    return " ".join(text.split())


def test_the_whole_command_in_its_time_and_with_its_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "rectifier-demo.html").write_text("somebody else's")
    kept = []
    real = demo.run_demo
    monkeypatch.setattr(demo, "run_demo", lambda *args, **options: kept.append(real(*args, **options)) or kept[0])
    # Processor time, not the clock's: it does not depend on what else the machine is doing.
    began = time.process_time()
    result = CliRunner().invoke(command, [], catch_exceptions=False)
    assert time.process_time() - began < 60
    assert result.exit_code == 0
    assert (tmp_path / "rectifier-demo.html").read_text() == "somebody else's"
    page = tmp_path / "rectifier-demo-2.html"
    assert page.name in result.output
    assert "rectifier run train.py" in result.output
    # The README's excerpt is what it prints.
    story, table = EXCERPT.split("...\n")
    for piece in (story, *table.splitlines()):
        assert masked(piece) in masked(result.output)
    html = page.read_text()
    loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)\s*=\s*[\"']?([^\"'>\s]*)", html)
    assert [address for address in loaded if not address.startswith("data:")] == []
    # Rates and not outcomes: these are a draw of 16, but the largest effects are far beyond luck.
    rows = {row.arm: row for row in kept[0].comparison.arms}
    assert 1 <= rows[BASELINE].failures <= 11
    assert rows["leaky_relu:0.3"].verdict == rows["elu:1.0"].verdict == "helped"
    assert rows["elu:1.0"].metric.low > 0
    assert rows[BASELINE].dead_fraction > 0.1
    assert rows["leaky_relu:0.01"].dead_fraction == 0


def test_a_page_is_never_written_over_another(tmp_path, monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("rectifier.report.page.page"), "comparison_page", lambda *args, **options: "page"
    )
    made = demo.Demo(None, None, None, {})
    names = [write_page(made, tmp_path / "x.html").name for _ in range(3)]
    assert names == ["x.html", "x-2.html", "x-3.html"]
    elsewhere = write_page(made, tmp_path / "absent" / "x.html")
    assert elsewhere.read_text() == "page"
    assert not elsewhere.is_relative_to(tmp_path)


def test_without_its_data_it_says_what_to_install_and_nothing_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    result = CliRunner().invoke(command, ["--no-html"])
    assert result.output == ""
    assert isinstance(result.exception, MissingData)
    assert str(result.exception).endswith("Install it with: python -m pip install 'rectifier[demo]'")


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--seed", "-1"], ["--seed", "x"]])
def test_misuse(arguments):
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
