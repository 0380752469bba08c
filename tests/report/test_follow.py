"""A page that is written again while the run goes on loads itself again, and only then."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from rectifier.cli import follow as module
from rectifier.cli.commands import report
from rectifier.records import Manifest, Outcome
from rectifier.report.page.page import run_page
from rectifier.storage import RunWriter, write_manifest, write_outcome
from tests.report.builders import diagnosed, make_process, make_run


@pytest.fixture
def going(tmp_path):
    """A run folder that holds two of a process's snapshots, and a function that adds one."""
    folder = tmp_path / "train-1"
    folder.mkdir()
    write_manifest(
        folder,
        Manifest(name="train-1", command=("train.py",), folder=str(folder), started="", rectifier="0", python="3"),
    )
    process = make_process((3, 5))
    writer = RunWriter(folder)
    writer.record(process.writer)
    for site in process.sites:
        writer.record(site)
    rest = list(process.snapshots)

    def add():
        writer.record(rest.pop(0))

    add()
    add()
    yield folder, add
    writer.close()


def test_it_writes_until_the_end_and_the_last_page_is_still(going, tmp_path, monkeypatch):
    folder, add = going
    page = tmp_path / "page.html"
    pages = []

    def sleep(_):
        assert not list(tmp_path.glob(".*.part")), "whoever loads it gets a whole page"
        pages.append(page.read_text())
        if len(pages) in (1, 3):
            add()
        if len(pages) == 5:
            write_outcome(folder, Outcome(exit_code=0, seconds=7.0))

    monkeypatch.setattr(module.time, "sleep", sleep)
    result = CliRunner().invoke(report.command, [str(folder), "--html", str(page), "--follow"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert len(pages) == 5
    assert all("This page loads itself again every 10 s." in text for text in pages)
    assert pages[0] != pages[1] == pages[2] != pages[3] == pages[4]
    last = page.read_text()
    assert "loads itself again" not in last
    assert "exit code 0 after 7.0 s" in last


def test_ctrl_c_leaves_a_page_that_is_still(going, tmp_path, monkeypatch):
    folder, _ = going
    page = tmp_path / "page.html"

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupted)
    result = CliRunner().invoke(report.command, [str(folder), "--html", str(page), "--follow"])
    assert result.exit_code == 0
    assert "the training goes on" in result.stderr
    assert "loads itself again" not in page.read_text()


def test_a_run_that_was_killed_is_not_followed_for_ever(going, tmp_path, monkeypatch):
    folder, _ = going
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: clock.append(clock.pop() + 600.0))
    result = CliRunner().invoke(report.command, [str(folder), "--html", str(tmp_path / "page.html"), "--follow"])
    assert result.exit_code == 0
    assert "for half an hour" in result.stderr
    assert clock[0] == 2_400


@pytest.mark.parametrize("arguments", [["--follow"], ["--follow", "--json"]])
def test_it_needs_a_page(going, arguments):
    result = CliRunner().invoke(report.command, [str(going[0]), *arguments])
    assert result.exit_code == 2
    assert "--html page.html" in result.output


def blank(browser, folder):
    """A tab that does not wait for a page to be drawn, which may load itself again before it is."""
    (folder / "blank.html").write_text("<title>blank</title>")
    return browser.open(folder / "blank.html")


@pytest.mark.browser
@pytest.mark.timeout(120)
def test_in_a_browser_it_reloads_stops_when_asked_and_ends_with_the_run(browser, tmp_path):
    run, diagnoses = diagnosed(make_run(make_process((3, 5))))
    run = replace(run, outcome=None)
    path: Path = tmp_path / "page.html"

    def write(text, **options):
        # As the command does: whoever loads it meanwhile gets a whole page.
        beside = path.with_suffix(".part")
        beside.write_text(run_page(run, diagnoses, **options).replace("<h1>", f"<h1>{text} "), encoding="utf-8")
        beside.replace(path)

    write("first", refresh_seconds=1)
    tab = blank(browser, tmp_path)
    tab.page.goto(path.as_uri())
    write("second", refresh_seconds=5)
    tab.page.wait_for_selector("h1:has-text('second')", timeout=60_000)
    tab.page.get_by_role("button", name="Stop that").click()
    write("third", refresh_seconds=5)
    tab.page.wait_for_timeout(5_500)
    assert "second" in tab.page.inner_text("h1"), "its reader has stopped it"
    assert "Stopped" in tab.page.inner_text(".refresh")
    write("last")
    tab.page.reload()
    assert tab.page.locator(".refresh").count() == 0
    assert tab.complaints == []
    tab.close()


@pytest.mark.browser
@pytest.mark.timeout(120)
def test_a_page_that_comes_again_leaves_its_reader_where_he_was(browser, tmp_path):
    run, diagnoses = diagnosed(make_run(make_process((13, 32, 7), dying=(1,))))
    run = replace(run, outcome=None)
    path = tmp_path / "page.html"
    path.write_text(run_page(run, diagnoses, refresh_seconds=10), encoding="utf-8")
    tab = blank(browser, tmp_path)
    tab.page.clock.install()
    tab.page.goto(path.as_uri())
    tab.page.clock.run_for(2_000)
    evidence = tab.page.locator(".finding summary").first
    evidence.click()
    tab.js("document.getElementById('layers-1').scrollIntoView()")
    tab.settle()
    tab.js("scrollBy(0, -150)")
    place = "document.getElementById('layers-1').getBoundingClientRect().top"
    before = tab.js(place)
    # One more paragraph stands above what is being read.
    text = run_page(run, diagnoses, refresh_seconds=10).replace("<h1>", "<p>News</p><h1>Again: ")
    path.write_text(text, encoding="utf-8")
    with tab.page.expect_navigation():
        tab.page.clock.run_for(9_000)
    tab.page.wait_for_selector("h1:has-text('Again')")
    assert tab.page.locator(".finding details").first.get_attribute("open") is not None
    assert tab.js("document.activeElement.textContent").startswith("Evidence")
    assert abs(tab.js(place) - before) < 2
    # Where nothing was kept, everything is folded, as on a first visit.
    tab.page.goto(path.as_uri() + "?")
    assert tab.page.locator(".finding details").first.get_attribute("open") is None
    assert tab.complaints == []
    tab.close()


@pytest.mark.browser
@pytest.mark.timeout(120)
def test_a_page_that_nobody_writes_any_more_gives_up(browser, tmp_path):
    run, diagnoses = diagnosed(make_run(make_process((3, 5))))
    path = tmp_path / "page.html"
    text = run_page(replace(run, outcome=None), diagnoses, refresh_seconds=1)
    written = text.partition('data-written="')[2].partition('"')[0]
    path.write_text(text.replace(f'data-written="{written}"', f'data-written="{int(written) - 600}"'), encoding="utf-8")
    tab = blank(browser, tmp_path)
    tab.page.goto(path.as_uri())
    tab.page.wait_for_selector(".refresh:has-text('loads itself no more')", timeout=30_000)
    tab.close()


def test_a_finished_page_says_nothing_of_it():
    run, diagnoses = diagnosed(make_run(make_process((3,))))
    assert 'class="note refresh"' not in run_page(run, diagnoses)
