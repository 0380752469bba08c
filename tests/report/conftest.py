import os

import pytest

from rectifier.report.page.page import comparison_page, explanation_page, run_page
from tests.report.browser import Browser, find_chromium
from tests.report.builders import (
    CLOSING,
    HOSTILE,
    diagnosed,
    make_comparison,
    make_curves,
    make_explanation,
    make_hostile,
    make_hostile_comparison,
    make_process,
    make_run,
    make_saved,
)


@pytest.fixture(scope="session")
def browser():
    executable = find_chromium()
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on the PATH: the page was not opened in a browser")
        pytest.skip("NO CHROMIUM ON THE PATH: the page was not opened in a browser")
    found = Browser(executable)
    yield found
    found.close()


@pytest.fixture(scope="session")
def dying():
    return diagnosed(make_run(make_process(widths=(13, 32, 32, 11, 7), dying=(1, 3))))


@pytest.fixture(scope="session")
def healthy():
    return diagnosed(make_run(make_process()))


@pytest.fixture(scope="session")
def comparison():
    return make_comparison(margin=0.03)


@pytest.fixture(scope="session")
def pages(tmp_path_factory, dying, healthy, comparison):
    """One page of each kind, on disk."""
    folder = tmp_path_factory.mktemp("pages")
    run, diagnoses = dying
    hostile_comparison = make_hostile_comparison()
    texts = {
        "dying": run_page(run, diagnoses),
        "healthy": run_page(*healthy),
        "hostile": run_page(*make_hostile()),
        "comparison": comparison_page(comparison),
        "hostile comparison": comparison_page(hostile_comparison, curves=make_curves(hostile_comparison)),
        "explained": run_page(run, diagnoses, explained=make_saved()),
        "hostile explanation": explanation_page(
            make_saved(make_explanation(HOSTILE, CLOSING, '" onclick="alert(3)'), (HOSTILE, CLOSING))
        ),
        "demo": comparison_page(comparison, example=(run, diagnoses[0]), curves=make_curves(comparison)),
    }
    paths = {name: folder / f"{name}.html" for name in texts}
    for name, path in paths.items():
        path.write_text(texts[name], encoding="utf-8")
    return paths


@pytest.fixture(scope="session")
def opened(browser, pages):
    """Tabs that several tests share: what they change of one is no more than where the reader is."""
    tabs = {}

    def get(name, width=1400):
        key = name, width
        if key not in tabs:
            tabs[key] = browser.open(pages[name], width=width)
        return tabs[key]

    yield get
    for tab in tabs.values():
        tab.close()


@pytest.fixture
def fresh(browser, pages):
    """Opens tabs of a test's own."""
    tabs = []

    def get(name, **options):
        tabs.append(browser.open(pages[name], **options))
        return tabs[-1]

    yield get
    for tab in tabs:
        tab.close()
