"""The terminal: what it says, in which order, in how many columns, with which characters."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from rectifier._formatting import percent
from rectifier.records import AxisSource, Cause, Diagnosis, Finding, InfiniteGradient, Rule, UnitAxis, Unseen, WhyUnseen
from rectifier.report.figures.training import silent_map
from rectifier.report.json.documents import run_json
from rectifier.report.page.page import run_page
from rectifier.report.sentences import describe
from rectifier.report.text.comparison import print_comparison
from rectifier.report.text.run import print_run, run_text
from tests.findings import dead_units, ref
from tests.report.builders import HOSTILE, make_comparison, make_hostile, make_process, make_run

WIDTHS = (60, 80, 200)


def console(width=80, encoding="utf-8", **options):
    return Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True), width=width, **options)


def printed(show, *records, **options):
    screen = console(**options)
    show(*records, screen)
    return screen.file.buffer.getvalue().decode(screen.file.encoding)


def lines_of(text):
    return [line for line in text.split("\n") if line]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["dying", "healthy", "hostile", "comparison", "long"])
def test_no_line_is_longer_than_the_terminal_nor_padded(request, kind, width):
    if kind == "comparison":
        text = printed(print_comparison, request.getfixturevalue("comparison"), width=width)
    else:
        long = make_run(make_process((3, 5), names=("encoder.layers.11." * 12 + "act", "x" * 211), dying=(1,)))
        records = {"hostile": make_hostile, "long": lambda: with_diagnosis(long)}.get(kind)
        text = printed(print_run, *(records() if records else request.getfixturevalue(kind)), width=width)
    assert len(lines_of(text)) > 5
    assert [line for line in text.split("\n") if len(line) > width] == []
    assert [line for line in text.split("\n") if line != line.rstrip()] == []


def with_diagnosis(run):
    from tests.edge import diagnose

    return run, [diagnose(process) for process in run.processes]


def test_a_run_is_summed_up_first_then_explained(dying):
    text = printed(print_run, *dying)
    head = lines_of(text)[:4]
    assert head == [
        "1 warning and 1 remark.",
        "  warning hidden.1: 8 of 32 units dead, 24 more suspected",
        "  info    hidden.3: 3 of 11 units dead, 8 more suspected",
        head[3],
    ]
    warning = dying[1][0].findings[0]
    flat = " ".join(text.split())
    assert flat.count(" ".join(warning.detail.split())) == 1
    assert f"Why: {warning.cause.text}" in flat
    run = dying[0]
    assert run.manifest.command == ("train.py", "--lr", "0.1")
    assert f"What to do: {describe(warning, run.manifest.command).advice}" in flat
    assert "`rectifier explain train.py --lr 0.1`" in flat
    assert flat.index("Why:") < flat.index("What to do:") < flat.index("layer units dead")


def test_the_table_of_layers_holds_the_numbers_of_the_diagnosis(dying):
    text = printed(print_run, *dying)
    rows = {line.split()[0]: line.split() for line in lines_of(text) if line.startswith("hidden.") and ":" not in line}
    for layer in dying[1][0].layers:
        _, units, dead, rare, stuck, fires, delta = rows[layer.site.label]
        assert int(units) == layer.units
        assert dead == (f"{layer.dead}+{layer.suspected}?" if layer.suspected else f"{layer.dead}")
        assert (int(rare), int(stuck)) == (layer.rare, layer.stuck)
        assert fires == percent(layer.firing_fraction)
        assert float(delta) == pytest.approx(layer.delta, rel=0.05)
    assert "A count with ? is suspected" in text
    wide = printed(print_run, *dying, width=200)
    (row,) = [line for line in lines_of(wide) if line.startswith("hidden.1 ")]
    assert row.split()[1:3] == ["relu", "net.py:21"]
    assert row.endswith("█")


def test_the_factor_is_what_the_gradient_does_from_one_layer_down_to_the_next(healthy):
    _, (diagnosis,) = healthy
    text = printed(print_run, *healthy, width=80)
    shown = [line.split()[-1] for line in lines_of(text) if line.startswith("hidden.") and ":" not in line]
    deltas = [layer.delta for layer in diagnosis.layers]
    assert all(deltas)
    assert len(shown) == len(deltas) > 2
    for factor, lower, upper in zip(shown[:-1], deltas[:-1], deltas[1:], strict=True):
        assert float(factor) == pytest.approx(lower / upper, rel=0.05)
    assert float(shown[-1]) == pytest.approx(deltas[-1], rel=0.05), "nothing is above the last layer"
    assert "factor: how many times" in " ".join(text.split())
    assert "factor" not in printed(print_run, *healthy, width=79)


def test_of_many_layers_those_that_matter_are_listed():
    run, (diagnosis,) = with_diagnosis(make_run(make_process((3, 5), dying=(1,))))
    layers = tuple(
        replace(diagnosis.layers[0], site=ref(f"deep.{row}"), suspected=int(row == 421)) for row in range(503)
    )
    (alarm,) = [finding for finding in diagnosis.findings if finding.severity == "warning"]
    findings = (replace(alarm, site=ref("deep.7")),)
    lines = lines_of(printed(print_run, run, [Diagnosis(findings=findings, layers=layers)], width=200))
    rows = [line.split()[0] for line in lines if line.startswith("deep.") and ":" not in line.split()[0]]
    assert len(rows) == 60
    assert {"deep.7", "deep.421"} < set(rows)
    assert "60 of 503 layers; --json lists all of them." in lines


def test_models_whose_layers_have_one_name_are_told_apart():
    one, two = (make_process((3, 5), names=("act", "mid"), model=model, dying=(1,)) for model in ("Gen", "Disc"))
    snapshots = tuple(
        replace(first, windows=(*first.windows, *(replace(w, site=w.site + 2) for w in second.windows)))
        for first, second in zip(one.snapshots, two.snapshots, strict=True)
    )
    process = replace(one, sites=(*one.sites, *two.sites), snapshots=snapshots)
    text = printed(print_run, *with_diagnosis(make_run(process)), width=200)
    for name in ("Gen.mid", "Disc.mid"):
        assert f"{name}: 2 of 5 units dead, 3 more suspected" in text
        assert any(line.startswith(f"{name} ") for line in lines_of(text))


def test_a_call_is_named_by_what_feeds_it_with_its_line_everywhere():
    process = make_process((7, 5), dying=(1,))
    fed = [replace(s, path="", call=row, kind="function", layer=f"fc{row}") for row, s in enumerate(process.sites)]
    run, diagnoses = with_diagnosis(make_run(replace(process, sites=tuple(fed))))
    text, plain = printed(print_run, run, diagnoses, width=100), printed(print_run, run, diagnoses, encoding="ascii")
    alarms = [one for one in diagnoses[0].findings if one.severity != "info"]
    assert alarms, "there was something to say"
    assert "Where: net.py:21" in text, "also where the table has no room for it"
    assert "Where: net.py:21" in plain
    assert "fc1 → relu: 2 of 5 units dead" in text
    assert "fc1 -> relu: 2 of 5 units dead" in plain
    page, document = run_page(run, diagnoses), run_json(run, diagnoses)
    named = [row["name"] for row in document["processes"][0]["layers"]]
    assert named == list(silent_map(diagnoses[0]).layout.yaxis.ticktext) == ["fc0 → relu", "fc1 → relu"]
    for shown in (text, page):
        assert "fc0 → relu" in shown
        assert "Net (call" not in shown
    assert [row["site"] for row in document["processes"][0]["layers"]] == ["Net", "Net (call 2)"]


def test_a_healthy_run_is_called_so(healthy):
    text = printed(print_run, *healthy, width=200)
    title = healthy[1][0].findings[0].title
    assert lines_of(text)[:2] == [
        "No problems found. Notes:",
        f"  info    {title}",
    ]
    assert "What to do:" not in text
    silent = Diagnosis(findings=(), layers=healthy[1][0].layers)
    without = printed(print_run, healthy[0], [silent])
    assert lines_of(without)[0] == "No problems found."
    covered = "Sampled 90 of 180 steps (1 in 2 at the end), 90 of them in full: 4,410 samples (4,000 distinct)."
    assert covered in " ".join(text.split())
    assert "A count with ?" not in text


def test_tokens_are_told_from_the_sequences_that_hold_them(healthy):
    (process,) = healthy[0].processes
    axis = UnitAxis(axis=-1, ndim=3, source=AxisSource.OPERATION)
    sites = tuple(replace(site, unit_axis=axis) for site in process.sites)
    run = replace(healthy[0], processes=(replace(process, sites=sites),))
    text = printed(print_run, run, healthy[1])
    assert "90 of them in full: 4,410 tokens (4,000 distinct sequences)." in " ".join(text.split())


def test_a_share_beyond_the_budget_has_its_reason(healthy):
    """The budget holds after the early steps only; with every step in full there is none at all."""

    def told(**more):
        cost = {"watching_seconds": 0.4, "training_seconds": 1.0, "observed_steps": 171, "counted_steps": 50} | more
        (process,) = healthy[0].processes
        shots = [replace(shot, cost=replace(shot.cost, **cost)) for shot in process.snapshots]
        run = replace(healthy[0], processes=(replace(process, snapshots=tuple(shots)),))
        return " ".join(printed(print_run, run, healthy[1]).split())

    early = "The budget holds after the first 1,024 steps, which are sampled at a fixed rate."
    start = "Most of this is start-up: a longer run has a smaller share."
    assert early in told(steps=1024)
    assert early not in told(steps=1025)
    assert start in told(steps=1025)
    assert start in told(steps=300, counted_steps=171)
    for rest in (told(watching_seconds=0.02, steps=300), told(steps=1025, watching_seconds=1.0, training_seconds=9.0)):
        assert early not in rest
        assert start not in rest


def test_advice_is_not_said_twice():
    updated, unknown = dead_units("@", severity="serious"), dead_units("@", severity="serious", cause=Cause())
    infinite = InfiniteGradient(step=1, steps=1, observed_steps=9, longest_run=1)
    at = Finding(rule=Rule.EXPLODING_GRADIENT, severity="serious", site=ref("@"), evidence=infinite)
    findings = [updated, unknown, updated, at]
    first = describe(updated).advice
    assert first.endswith("compare before you believe it.")
    process = make_process((3,))
    flat = " ".join(printed(print_run, make_run(process), [Diagnosis(findings=tuple(findings), layers=())]).split())
    told = [part.partition(" @")[0].partition(" No activation")[0] for part in flat.split("What to do: ")[1:]]
    told[2] = told[2].partition(" an infinite")[0]
    command = make_run(process).manifest.command
    assert told == [first, describe(unknown, command).advice, "as above.", describe(at, command).advice]


def test_many_findings_are_counted_not_printed():
    findings = tuple(
        Finding(rule=Rule.STARVED, severity="warning" if n < 9 else "info", title=f"title {n}", detail=f"detail {n}.")
        for n in range(20)
    )
    text = printed(print_run, make_run(make_process((3,))), [Diagnosis(findings=findings, layers=())])
    assert lines_of(text)[0] == "9 warnings and 11 remarks."
    assert all(f"warning title {n}\n" in text for n in range(9))
    assert "and 5 more remarks; --json lists all of them." in text
    assert "detail 4." in text
    assert "detail 5." not in text
    assert "The page (--html) has the details of the other 4." in text


def test_of_several_ranks_the_worst_is_named_first(dying, healthy):
    processes = [replace(p, writer=replace(p.writer, rank=rank, world_size=2)) for rank, p in enumerate(
        (healthy[0].processes[0], dying[0].processes[0])
    )]  # fmt: skip
    text = printed(print_run, make_run(*processes), [healthy[1][0], dying[1][0]], width=200)
    title = dying[1][0].findings[0].title
    assert lines_of(text)[0] == f"2 processes trained. Most serious, in rank 1 of 2: {title}."
    assert text.index("rank 0 of 2, process") < text.index("rank 1 of 2, process")


def test_what_was_not_seen_changed_or_went_wrong_is_told(healthy):
    process = replace(
        healthy[0].processes[0],
        unseen=(Unseen(what="net.act", reason="compiled"), Unseen(what="STE", why=WhyUnseen.CUSTOM, calls=1200)),
        changes=("relu to leaky_relu:0.1 at 3 sites",),
        warnings=("the disk is full",),
    )
    text = printed(print_run, make_run(process), healthy[1])
    assert "Not seen: net.act (compiled)." in text
    assert "Not seen: STE, 1,200 calls (" in text
    assert "Changed: relu to leaky_relu:0.1 at 3 sites." in text
    assert "Rectifier had an internal problem: the disk is full." in text
    assert printed(print_run, make_run(), []) == "Nothing was observed.\n"


def test_a_comparison_begins_with_its_headline(comparison):
    text = printed(print_comparison, comparison, width=200)
    lines = lines_of(text)
    assert lines[0] == "Against relu: leaky_relu:0.1 helped, tanh hurt."
    header, *rows = lines[1:7]
    assert header.split() == ["arm", "failed", "95%", "median", "difference", "95%", "p", "verdict"]
    ends = [line.rstrip()[header.index("verdict") :] for line in rows]
    assert ends == ["baseline", "helped", "no difference", "hurt", "placebo"]
    for row, arm in zip(rows, comparison.arms, strict=True):
        assert row.startswith(arm.arm)
        assert f"{arm.failures} of {arm.n}" in row
        if arm.metric:
            assert f"{arm.metric.difference:+.3g}" in row
            assert f"{arm.metric.low:+.3g} to {arm.metric.high:+.3g}" in row
    assert [f"– {arm.sentence}" for arm in comparison.arms[1:]] == lines[7:11]
    assert lines[11].startswith("12 seeds, test accuracy (higher is better); intervals are 95%")
    assert lines[12] == f"Note: {comparison.notes[0]}"


def test_nothing_is_coloured_where_it_is_piped(dying, comparison, monkeypatch):
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert "\x1b" not in printed(print_run, *dying)
    assert "\x1b" not in printed(print_comparison, comparison)
    assert "\x1b[" in printed(print_run, *dying, force_terminal=True, color_system="standard")


def test_no_color_is_respected_on_a_terminal(dying, comparison, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    for text in (
        printed(print_run, *dying, force_terminal=True, color_system="standard"),
        printed(print_comparison, comparison, force_terminal=True, color_system="standard"),
    ):
        codes = {part.partition("m")[0] for part in text.split("\x1b[")[1:]}
        # Bold and dim are no colours.
        assert codes <= {"0", "1", "2"}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_gets_only_characters_that_it_has(dying, comparison, encoding):
    for width in WIDTHS:
        text = printed(print_run, *dying, width=width, encoding=encoding)
        text += printed(print_comparison, comparison, width=width, encoding=encoding)
        text += printed(print_run, *make_hostile(), width=width, encoding=encoding)
        # The table's own words are spelled out, not lost.
        assert "?delta?" not in text
        assert "delta" in text
    if encoding == "ascii":
        assert text.isascii()
        assert "- leaky_relu:0.1 helped" in printed(print_comparison, comparison, encoding=encoding)


def test_names_are_never_markup_and_never_command_the_terminal():
    names = ("[bold]a[/bold]", "b\x1b[2J", "c\nd", "[link=http://x]e", ":smile:")
    process = make_process((3, 5, 7, 3, 5), names=names, dying=(1, 3))
    text = printed(print_run, *with_diagnosis(make_run(process)), width=200, force_terminal=True, color_system=None)
    assert "\x1b[2J" not in text
    for written in ("[bold]a[/bold]", "b\\x1b[2J", "c\\nd", "[link=http://x]e", ":smile:"):
        assert written in text
    assert HOSTILE in printed(print_run, *make_hostile(), width=200)
    metric = make_comparison(metric="[red]accuracy[/red]")
    assert "[red]accuracy[/red]" in printed(print_comparison, metric, width=200)


def test_the_text_of_a_run_is_what_is_printed(dying):
    assert run_text(*dying, width=80) == printed(print_run, *dying).rstrip()


def test_interim_analyses_are_told_where_there_are_several(comparison):
    looked = replace(comparison, interim=(4, 8, 12))
    assert "Interim analyses at 4, 8 and 12 seeds; arms with a verdict stop early." in printed(
        print_comparison, looked, width=200
    )
    for interim in ((), (12,)):
        assert "Interim analyses" not in printed(print_comparison, replace(comparison, interim=interim), width=200)
