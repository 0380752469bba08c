"""A page stays small and quick where the training was neither."""

import time
from dataclasses import replace

import pytest

from rectifier.records import Diagnosis
from rectifier.report.page.page import run_page
from tests.findings import ref
from tests.report.builders import diagnosed, make_huge, make_process, make_run

_PLOTLY = 4_950_000


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    run, diagnoses = make_huge(windows=300)
    # Of this process: what a clock says depends on who else is at work on this machine.
    began = time.process_time()
    text = run_page(run, diagnoses)
    seconds = time.process_time() - began
    path = tmp_path_factory.mktemp("huge") / "huge.html"
    path.write_text(text, encoding="utf-8")
    return path, text, seconds


def test_twelve_million_units_and_a_hundred_thousand_steps_make_a_small_page(huge):
    _, text, seconds = huge
    assert len(text) - _PLOTLY < 1_000_000
    assert seconds < 20
    assert "12,000,036 units in 12 layers" in text
    assert "128 of them are drawn. 120 of 300 windows are drawn." in text
    assert "Each point is the mean of about 100 values." in text
    assert "From " in text
    assert "over 100,003 steps" in text


@pytest.mark.browser
@pytest.mark.timeout(60)
def test_it_opens_in_three_seconds(huge, browser):
    tab = browser.open(huge[0])
    loaded = tab.js("performance.getEntriesByType('navigation')[0].loadEventEnd")
    # Seconds of the page's own thread: what a clock says depends on who else is at work on this machine.
    assert 0 < tab.cpu_seconds() < 3
    assert loaded > 0
    assert tab.complaints == []
    assert tab.js("document.querySelectorAll('.js-plotly-plot').length") == 10
    tab.close()


def test_thousands_of_layers_and_findings_are_cut_and_counted():
    run, (diagnosis,) = diagnosed(make_run(make_process((3, 5), dying=(1,))))
    (alarm, *_) = diagnosis.findings
    layers = tuple(
        replace(diagnosis.layers[row % 2], site=ref(f"deep.{row}"), dead=0, suspected=int(row == 4_321))
        for row in range(5_003)
    )
    findings = tuple(replace(alarm, site=ref(f"deep.{row}")) for row in range(0, 5_003, 41))
    text = run_page(run, [Diagnosis(findings=findings, layers=layers)])
    assert len(text) - _PLOTLY < 1_200_000
    assert "300 of 5,003 layers are listed" in text
    assert f"60 of {len(findings)} are shown" in text
    assert "400 of the layers are drawn" in text
    assert text.count('<tr id="layer-') == 300
    # What the findings shown are about is there, and the one layer that has a silent unit.
    for row in (0, 41, 59 * 41, 4_321):
        assert f'<th scope="row">deep.{row}</th>' in text
