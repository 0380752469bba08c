"""How large the pages are, how long they take to write, and how long a headless Chromium takes to open and draw them.

    python benchmarks/pages.py            # the table, in Markdown
    python benchmarks/pages.py --write    # into docs/pages/page-sizes.md

Records are made up (`tests/report/builders.py`): a page's size depends on how much was observed, not on what.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from plotly.offline import get_plotlyjs  # noqa: E402
from tests.report.browser import Browser, find_chromium  # noqa: E402
from tests.report.builders import (  # noqa: E402
    diagnosed,
    make_comparison,
    make_curves,
    make_huge,
    make_process,
    make_run,
)

from rectifier.report.page.page import comparison_page, run_page  # noqa: E402

PAGE = ROOT / "docs" / "pages" / "page-sizes.md"
HEAD = """# Sizes and loading times of the pages

Written by `python benchmarks/pages.py --write`, {machine}.
Each page was opened {repeats} time(s); the numbers are medians. *Without plotly*: what is left of the file when
plotly's script ({plotly:.2f} MB, once a page) is taken away. *Written in*: processor time. *Work*: what the page's
own thread computed until all charts were drawn; it shall be below 3 s. *Readable* (words and tables are painted) and
*drawn* (the last chart is): by the clock, from the beginning of loading; with a load above the number of cores they
tell how busy the machine was. Most of the work is plotly's script being read, as the first row shows; how much was
observed hardly matters, because at most 128 units × 120 windows are drawn of a layer, six layers unit by unit, and
1,000 points of a series.

"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        print("no Chromium on the PATH: nothing was measured")
        return
    browser = Browser(chromium)
    lines = [
        "| page | file | without plotly | written in | work | readable | drawn |",
        "|---|---|---|---|---|---|---|",
        *(row(name, make, browser, options.repeats) for name, make in pages().items()),
    ]
    browser.close()
    plotly = len(get_plotlyjs().encode()) / 1e6
    load = f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else "load unknown"
    machine = f"{date.today().isoformat()}, {load} at the end"
    text = HEAD.format(machine=machine, repeats=options.repeats, plotly=plotly) + "\n".join(lines) + "\n"
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


def pages() -> dict[str, Callable[[], str]]:
    comparison = make_comparison(margin=0.03)
    small = diagnosed(make_run(make_process()))
    deep = diagnosed(make_run(make_process(widths=(64,) * 60, dying=(3, 7))))
    return {
        "plotly's script alone": lambda: f"<!doctype html><title>plotly</title><script>{get_plotlyjs()}</script>",
        "run: 3 layers of 7 to 13 units": lambda: run_page(*small),
        "run: 60 layers of 64 units": lambda: run_page(*deep),
        "run: 1,000,003 units, 100,003 steps, 300 windows": lambda: run_page(*make_huge(layers=1, windows=300)),
        "run: 12 × 1,000,003 units, 100,003 steps, 300 windows": lambda: run_page(*make_huge(windows=300)),
        "comparison: 5 arms × 12 seeds": lambda: comparison_page(comparison, curves=make_curves(comparison)),
    }


def row(name: str, make: Callable[[], str], browser: Browser, repeats: int) -> str:
    began = time.process_time()
    text = make()
    written = time.process_time() - began
    work, readable, drawn = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(text, encoding="utf-8")
        for _ in range(repeats):
            tab = browser.open(path)
            work.append(tab.cpu_seconds())
            readable.append(tab.js("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0") / 1e3)
            drawn.append(tab.js("performance.getEntriesByName('drawn')[0]?.startTime ?? 0") / 1e3)
            tab.close()
    size = len(text.encode())
    beside = size - len(get_plotlyjs().encode())
    return (
        f"| {name} | {size / 1e6:.2f} MB | {beside / 1e3:,.0f} kB | {written:.1f} s | "
        f"{statistics.median(work):.2f} s | {_told(readable)} | {_told(drawn)} |"
    )


def _told(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s" if any(seconds) else "–"


if __name__ == "__main__":
    main()
