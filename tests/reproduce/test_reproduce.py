"""Known results are measured again; tiny versions here, the full ones as proofs, and a wrong oracle never passes."""

import dataclasses
import struct
from functools import partial

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from rectifier.catalogue import parse
from rectifier.datasets import MissingData, fashion_mnist
from rectifier.reproduce import (
    born_dead,
    command,
    depth_silence,
    inactivity,
    lu2019,
    propagation,
    slow_regression,
    tuned_mlp,
)
from rectifier.reproduce.row import Known, Mean, Measured, Rate, exactly, judge, mean_of
from rectifier.reproduce.table import markdown


def nothing(share):
    assert 0 <= share <= 1


TINY = {
    "born-dead": partial(born_dead.measure, networks=3_000),
    "propagation": partial(propagation.measure, networks=600, default_networks=60),
    "inactivity": partial(inactivity.measure, units=20_000),
}


@pytest.mark.parametrize("name", TINY)
def test_exact_results_are_met_by_few_networks(name):
    rows = judge(TINY[name](0, nothing))
    assert [row.what for row in rows if row.agrees is False] == []
    assert len(rows) >= 12
    assert all(row.agrees for row in rows)


def invoke(monkeypatch, *arguments, tiny=TINY["born-dead"]):
    monkeypatch.setattr(born_dead, "RESULT", dataclasses.replace(born_dead.RESULT, measure=tiny))
    return CliRunner(env={"COLUMNS": "100"}).invoke(command.command, ["born-dead", *arguments])


def test_the_command_prints_known_ours_and_interval_and_writes_the_page(monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    result = invoke(monkeypatch, "--markdown", str(page))
    assert result.exit_code == 0, result.output
    assert "All 43 known numbers lie within their intervals." in result.stdout
    assert "0.880 ± 1.00e-04 exact" in result.stdout
    text = page.read_text(encoding="utf-8")
    assert text.count("\n| ") == 44
    assert "# Published and exact results" in text
    # A table that says nothing against Leaky ReLU is not listed among those that do.
    assert "Where Leaky ReLU does not help" not in text
    assert str(tmp_path) not in text.replace(str(page), "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GAUSSIAN", born_dead.GAUSSIAN | {2: (0.15625, 0.34015, 0.60, 0.62130, 0.87984, 0.99492)}),
        ("two_layers", lambda width: 3 * 4.0**-width),
        ("one_input_probability", lambda widths: 0.5),
        ("line_probability", lambda width, depth: (0.95, 0.97)),
    ],
)
def test_a_wrong_oracle_exits_with_1(monkeypatch, name, value):
    monkeypatch.setattr(born_dead, name, value)
    result = invoke(monkeypatch)
    assert result.exit_code == 1
    assert "NO" in result.stdout
    assert "lie outside of their intervals" in result.stdout


def test_wrong_theory_of_signals_and_silence_is_noticed(monkeypatch):
    monkeypatch.setattr(propagation, "kappa", lambda slope: 30.0)
    assert sum(row.agrees is False for row in judge(TINY["propagation"](0, nothing))) >= 3
    monkeypatch.setattr(inactivity, "correlation_after", lambda slope, c: c)
    monkeypatch.setattr(inactivity, "silent_on_all", lambda samples, c, mean: 0.2)
    assert sum(row.agrees is False for row in judge(TINY["inactivity"](0, nothing))) == 5


def test_a_leaky_network_is_never_born_dead_and_a_dead_one_is_counted():
    generator = torch.Generator().manual_seed(1)
    dead = born_dead.count_dead(parse("relu"), [1] * 9, both_signs=True, networks=700, generator=generator)
    assert dead == sorted(dead)
    assert dead[0] == 0
    assert dead[-1] > 680
    leaky = born_dead.count_dead(parse("leaky_relu:0.01"), [1] * 9, both_signs=True, networks=700, generator=generator)
    assert leaky == [0] * 9


def test_an_honest_table_is_contradicted_in_less_than_1_percent_of_cases():
    draws = np.random.default_rng(5)
    tables, alarms = 400, 0
    for _ in range(tables):
        rows = [Measured("rate", exactly(0.3), Rate(int(draws.binomial(90, 0.3)), 90)) for _ in range(4)]
        other = draws.binomial(60, 0.7) / 60
        rows.append(Measured("sample", Known(other, other, "measured", 60), Rate(int(draws.binomial(90, 0.7)), 90)))
        rows.append(Measured("mean", exactly(2.0), mean_of(draws.normal(2, 3, 40))))
        value = draws.normal(2, 3)
        rows.append(Measured("one more", Known(value, value, "measured", 1), mean_of(draws.normal(2, 3, 40))))
        alarms += any(row.agrees is False for row in judge(rows))
    # P(Binomial(400, .01) ≥ 12) = .0009
    assert alarms < 12


def test_intervals_by_hand():
    assert Rate(0, 40).interval(0.05, None) == pytest.approx((0, 1 - 0.025 ** (1 / 40)))
    # Fisher's p of 0 of 10 against 5 of 10 is .0325, against 6 of 10 .0108 (two-sided, doubled).
    assert Rate(0, 10).interval(0.05, 10) == (0.0, 0.4)
    assert Rate(0, 10).interval(0.02, 10) == (0.0, 0.5)
    assert Mean(1.0, 2.0, 16).interval(0.05, None) == pytest.approx((1 - 2.1314495 / 2, 1 + 2.1314495 / 2))
    low, high = Mean(1.0, 2.0, 16).interval(0.05, 16)
    assert (high - low) / 2 == pytest.approx(2**0.5 * 2.1314495 / 2)


def trained_alone(arm, weights, samples):
    """One 20–5–1 learner with torch's modules, SGD and autograd; returns its squared errors."""
    first, second = torch.nn.Linear(20, 5).double(), torch.nn.Linear(5, 1).double()
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(weights[0]))
        second.weight.copy_(torch.from_numpy(weights[1]))
        first.bias.zero_()
        second.bias.zero_()
    activation = {"relu": torch.nn.ReLU(), "elu:1.0": torch.nn.ELU(), "leaky_relu:0.2": torch.nn.LeakyReLU(0.2)}[arm]
    model = torch.nn.Sequential(first, activation, second)
    optimizer = torch.optim.SGD(model.parameters(), lr=slow_regression.RATE)
    errors = []
    for inputs, target in samples:
        loss = (model(torch.from_numpy(inputs)) - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    return errors


def test_the_slow_regression_is_plain_sgd_on_all_weights():
    specs = ["relu", "leaky_relu:0.2", "elu:1.0"]
    runs, steps, periods = 2, 60, 3
    draws = np.random.default_rng(2)
    targets = slow_regression.Targets(runs, draws)
    learners = slow_regression.Learners([parse(spec) for spec in specs], runs, draws)
    # A copy: the learners change their weights in place.
    initial = np.concatenate([learners.slow, learners.free]).copy(), learners.output.copy()
    totals, streams = [], [[] for _ in range(runs)]
    for _ in range(periods):
        targets.redraw()
        order = draws.integers(0, 32, (steps, runs))
        for shown in order:
            for run in range(runs):
                bits = np.concatenate([targets.slow[run], slow_regression.SETTINGS[shown[run]]])
                streams[run].append((bits, targets.values[run, shown[run]]))
        totals.append(learners.learn(targets.slow, targets.values, order))
    for arm, spec in enumerate(specs):
        for run in range(runs):
            alone = trained_alone(spec, (initial[0][:, run, arm].T, initial[1][run, arm]), streams[run])
            expected = np.reshape(alone, (periods, steps)).sum(1)
            np.testing.assert_allclose([total[run, arm] for total in totals], expected, rtol=1e-9)
    # Another run's stream gives other errors, so the comparison above can fail.
    other = trained_alone(specs[0], (initial[0][:, 0, 0].T, initial[1][0, 0]), streams[1])
    assert abs(np.sum(other) / sum(total[0, 0] for total in totals) - 1) > 0.01


def test_a_tiny_slow_regression_gives_all_rows(monkeypatch):
    monkeypatch.setattr(slow_regression, "PERIOD", 40)
    rows = judge(slow_regression.measure(0, nothing, runs=12, steps=400))
    assert [row.what for row in rows[:6]] == [
        f"mean squared error, {name}" for name in ("ReLU", "slope 0.01", "slope 0.1", "slope 0.2", "ELU", "linear")
    ]
    assert len(rows) == 12
    # So few steps teach nothing: the table must not agree.
    assert [row.agrees for row in rows[:6]].count(False) >= 1


def test_the_target_fires_where_seven_tenths_of_the_bits_agree():
    targets = slow_regression.Targets(2, np.random.default_rng(0))
    # Agreements of 20 bits and the bias with random signs: P(Bin(20, ½) + … ≥ 14.7) is small, and not zero.
    assert 0.3 < targets.values.std() < 5
    assert np.allclose(targets.values, targets.values.round())


def test_a_collapsed_network_is_counted():
    cell = lu2019.CELLS[0]
    counts = lu2019.run_cell(cell, "relu", 0, networks=60, steps=5)
    assert 60 * 0.7 < counts.born_dead <= counts.collapsed <= 60
    assert counts.useful == 0
    leaky = lu2019.run_cell(cell, "leaky_relu:0.01", 0, networks=60, steps=5)
    assert leaky.born_dead == 0
    assert lu2019.run_cell(lu2019.CELLS[3], "relu", 0, networks=3, steps=2).n == 3


@pytest.fixture
def clothes(tmp_path, monkeypatch):
    """Four idx files in miniature."""
    draws = np.random.default_rng(0)
    for stem, count in (("train", 140), ("t10k", 30)):
        images = draws.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = struct.pack(">4B3i", 0, 0, 8, 3, *images.shape)
        (tmp_path / f"{stem}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = draws.integers(0, 10, count, dtype=np.uint8)
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">4Bi", 0, 0, 8, 1, count) + labels.tobytes())
    monkeypatch.setenv("RECTIFIER_FASHION_MNIST", str(tmp_path))
    return tmp_path


def test_the_image_results_run_on_any_images(clothes):
    data = fashion_mnist(train=100)
    assert (data.train_inputs.shape, data.test_inputs.shape, data.train_inputs.max()) == ((100, 784), (30, 784), 1.0)
    rows = judge(depth_silence.measure(0, nothing, networks=2))
    assert len(rows) == 10
    rows = judge(tuned_mlp.measure(0, nothing, seeds=2, images=100))
    assert [row.agrees is None for row in rows] == [True, False, True, False, True]
    assert markdown(tuned_mlp.RESULT, rows).count("\n| ") == 6


def test_missing_or_damaged_images_name_the_command_and_exit_with_2(clothes, monkeypatch):
    (clothes / "t10k-images-idx3-ubyte").write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(MissingData, match="apt-get install dataset-fashion-mnist"):
        fashion_mnist()
    (clothes / "train-images-idx3-ubyte").unlink()
    result = CliRunner().invoke(command.command, ["depth-silence"])
    assert result.exit_code == 2
    assert "not measured" in result.stdout


def test_names_are_listed_and_an_unknown_one_is_refused():
    listed = CliRunner().invoke(command.command, ["--list"])
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(command.NAMES)
    with pytest.raises(command.UnknownResult, match="Known are: born-dead, propagation"):
        CliRunner().invoke(command.command, ["dead-born"], catch_exceptions=False)


@pytest.mark.proof
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("name", command.NAMES)
def test_every_result_is_reproduced_in_full(name):
    result = CliRunner().invoke(command.command, [name], catch_exceptions=False)
    assert result.exit_code == 0, result.stdout
