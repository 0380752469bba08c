"""The pages in a real headless Chromium: drawn, quiet, alone, readable."""

import re
from itertools import pairwise

import pytest

from tests.report.browser import CONTRASTS, TRACES

pytestmark = [pytest.mark.browser, pytest.mark.timeout(60)]

NAMES = [
    "dying", "healthy", "hostile", "comparison", "hostile comparison", "demo", "explained", "hostile explanation",
]  # fmt: skip
MARKS = ".cartesianlayer :is(.trace path, .barlayer path, .heatmaplayer image)"
DRAWN = """
[...document.querySelectorAll(".js-plotly-plot")].map((frame) => {
  const { width, height } = frame.querySelector(".main-svg").getBoundingClientRect();
  const bare = ["x", "y"].filter((axis) => frame._fullLayout[`${axis}axis`].showticklabels
    && frame.querySelectorAll(`.${axis}tick text`).length < 2);
  const marks = frame.querySelectorAll("MARKS").length;
  return { id: frame.id, width, height, bare, traces: frame.data.length, marks };
})
""".replace("MARKS", MARKS)


@pytest.mark.parametrize("name", NAMES)
def test_opens_quietly_alone_drawn_named_and_within_its_width(fresh, name):
    tab = fresh(name, width=1400, dark=True)
    check_drawn(tab, 1400)
    check_links(tab)
    check_names(tab)
    tab.page.emulate_media(color_scheme="light")
    tab.page.set_viewport_size({"width": 400, "height": 900})
    # Plotly waits until nobody pulls at the window any more.
    tab.wait_until("[...document.querySelectorAll('.main-svg')].every(e => e.getBoundingClientRect().width < 400)")
    check_drawn(tab, 400)
    assert tab.complaints == []
    assert tab.requested == []


def check_drawn(tab, width):
    drawn = tab.js(DRAWN)
    assert len(drawn) == tab.js("document.querySelectorAll('script.chart-data').length") >= 4
    for chart in drawn:
        assert 200 < chart["width"] < width
        assert chart["height"] > 60
        assert chart["traces"] > 0
        assert chart["marks"] > 0
        assert chart["bare"] == [], f"an axis of {chart['id']} has no numbers"
    assert tab.js("document.documentElement.scrollWidth") <= width


def check_links(tab):
    lost = tab.js(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash.slice(1))"
        ".filter(id => !document.getElementById(id))"
    )
    assert lost == []
    ours = tab.js("[...document.querySelectorAll('main [id]')].filter(e => !e.closest('svg')).map(e => e.id)")
    assert len(ours) == len(set(ours)) > 5


def check_names(tab):
    charts = tab.page.get_by_role("img").all()
    assert len(charts) == tab.js("document.querySelectorAll('figure').length")
    said = tab.js("[...document.querySelectorAll('.chart')].map(e => e.ariaLabel)")
    assert all(len(text) > 30 for text in said)
    titles = tab.js("[...document.querySelectorAll('figure :is(h3, h4, h5)')].map(h => h.textContent)")
    assert all(text.startswith(title) for text, title in zip(said, titles, strict=True))
    for title in set(titles):
        assert tab.page.get_by_role("figure", name=title, exact=True).count() == titles.count(title)
    assert tab.js("[...document.querySelectorAll('table')].filter(t => !t.caption?.textContent.trim()).length") == 0
    levels = tab.js("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_a_page_that_complains_and_loads_is_noticed(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.warn('w'); alert(1); missing()</script>")
    tab = browser.open(page)
    assert tab.requested == ["http://127.0.0.1:9/x.png"]
    assert {"w", "dialog: 1"} < set(tab.complaints)
    assert any("missing" in complaint for complaint in tab.complaints)
    tab.close()


@pytest.mark.parametrize(("name", "texts"), [("demo", 300), ("explained", 200)])
def test_every_text_stands_out_by_day_and_by_night(fresh, name, texts):
    tab = fresh(name)
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        tab.settle()
        found = tab.js(CONTRASTS)
        assert len(found) > texts
        assert any(one["text"] == "optimizer step" for one in found), "the words in the charts are looked at, too"
        assert [one for one in found if one["ratio"] < 4.5] == []


def test_a_text_that_fades_is_noticed(fresh):
    tab = fresh("healthy")
    tab.js("document.querySelector('h1').style.color = 'rgb(150 150 150 / 50%)'")
    assert min(tab.js(CONTRASTS), key=lambda one: one["ratio"])["ratio"] < 2.5


def test_dark_mode_exchanges_every_colour_and_back(fresh):
    tab = fresh("demo")

    def colours():
        tab.settle()
        return {
            "paper": tab.js("getComputedStyle(document.body).backgroundColor"),
            "ink": tab.js("getComputedStyle(document.querySelector('h1')).color"),
            "line": tab.js("document.getElementById('learning-1').data[0].line.color"),
            "scale": tab.js("document.getElementById('chart-1-1').data[0].colorscale[1][1]"),
        }

    light = colours()
    tab.page.emulate_media(color_scheme="dark")
    dark = colours()
    assert light["line"] == "#0072B2"
    assert light["scale"] == "rgba(213,94,0,1)"
    assert all(light[name] != dark[name] for name in light)
    tab.page.emulate_media(color_scheme="light")
    assert colours() == light


def test_a_link_of_a_finding_leads_to_its_layer(opened):
    tab = opened("dying")
    link = tab.page.get_by_role("link", name="hidden.1 in the table of layers").first
    link.click()
    tab.settle()
    row = tab.page.locator("tr:focus")
    assert row.locator("th").inner_text() == "hidden.1"
    assert tab.js("location.hash") == f"#{row.get_attribute('id')}"
    box = row.bounding_box()
    assert 0 <= box["y"] < 900


def test_the_keyboard_reaches_everything_in_order_and_shows_where_it_is(fresh):
    tab = fresh("dying")
    where = """
    (e => ({ tag: e.tagName, text: e.textContent.trim().slice(0, 40), top: e.getBoundingClientRect().top + scrollY,
             outline: getComputedStyle(e).outlineStyle, width: parseFloat(getComputedStyle(e).outlineWidth),
             index: [...document.querySelectorAll('*')].indexOf(e) }))(document.activeElement)
    """
    tab.page.keyboard.press("Tab")
    stops = [tab.js(where)]
    assert stops[0]["text"] == "Skip to the content"
    while len(stops) < 200:
        tab.page.keyboard.press("Tab")
        stop = tab.js(where)
        if stop["tag"] == "BODY":
            break
        stops.append(stop)
    assert [stop["index"] for stop in stops] == sorted(stop["index"] for stop in stops)
    assert [stop for stop in stops if stop["outline"] == "none" or stop["width"] < 2] == []
    tags = [stop["tag"] for stop in stops]
    shown = tab.js(
        "[...document.querySelectorAll('a, button, summary, .scroll')].filter(e => e.checkVisibility()).length"
    )
    assert len(tags) == shown
    assert {"A", "BUTTON", "SUMMARY", "DIV"} == set(tags)


def test_every_chart_is_a_table_too(opened, dying, comparison):
    """Reached and unfolded by the keyboard alone; the numbers are those of the records."""

    def rows(tab, title, near="main"):
        summary = (
            tab.page.locator(near).locator("summary").filter(has_text=re.compile(f"of: {re.escape(title)}$")).first
        )
        summary.focus()
        tab.page.keyboard.press("Enter")
        table = tab.page.get_by_role("region", name=f"Numbers of: {title}", exact=True).locator("table").first
        return [[cell.strip() for cell in row.split("\t")] for row in table.inner_text().splitlines() if row.strip()]

    tab = opened("dying")
    diagnosis = dying[1][0]
    silent = rows(tab, "Silent units, layer by layer")
    assert [line[0] for line in silent[-5:]] == [layer.site.label for layer in diagnosis.layers]
    assert silent[-4][-3:] == ["100%"] * 3
    assert float(silent[-4][3].removesuffix("%")) == pytest.approx(
        100 * diagnosis.layers[1].dead_history[2][1], rel=0.01
    )
    flow = rows(tab, "Gradient over depth")
    assert flow[-2][-1] == "0", "what a logarithmic axis has no place for is told as it is"
    assert any(line == ["never: 43 units"] for line in rows(tab, "How often units fire"))
    loss = rows(tab, "loss")
    values = dying[0].processes[0].series("loss").values
    assert float(loss[-1][1]) == pytest.approx(values[-1], rel=1e-3)
    unfolded = tab.js("[...document.querySelectorAll('.numbers[open] table')].filter(t => t.rows.length > 2).length")
    assert unfolded == 4
    assert tab.complaints == []
    tab = opened("demo", 400)
    (arm,) = [arm for arm in comparison.arms if arm.arm == "leaky_relu:0.1"]
    told = [line[0] for line in rows(tab, "Difference against the baseline")]
    assert f"leaky_relu:0.1: {arm.metric.difference:+.3g}, 95% interval {arm.metric.low:+.3g} to" in "\n".join(told)
    assert len(rows(tab, "Every training")) > 60
    assert len(rows(tab, "Dead units")) > 60
    tab.js("document.querySelectorAll('.numbers').forEach(part => { part.open = true; })")
    tab.settle()
    assert tab.js("[...document.querySelectorAll('.numbers table')].filter(t => t.rows.length < 2).length") == 0
    assert tab.js("document.documentElement.scrollWidth") == 400
    assert [one for one in tab.js(CONTRASTS) if one["ratio"] < 4.5] == []
    assert tab.complaints == []


def test_why_it_fails_comes_first_with_the_line_the_remedy_and_a_curve_of_each_change(fresh):
    tab = fresh("explained")
    section = tab.page.get_by_role("region", name="Why it fails", exact=True)
    assert tab.page.locator("main > section").first.get_attribute("aria-labelledby") == "explanation"
    assert "Cause established: weight decay of 0.5 (AdamW, group 0)." in section.locator("article").inner_text()
    # What speaks for the cause is told first.
    assert (
        section.locator(".sights li")
        .first.inner_text()
        .startswith("Weight decay makes up 98% of gradient plus weight decay at step 3.")
    )
    assert section.locator(".sights code").first.inner_text() == "train.py:41 loss.log()"
    copied = section.get_by_role("button", name="Copy weight_decay=0.01, or less", exact=True)
    assert copied.count() == 1
    titles = section.locator("figure h4").all_inner_texts()
    assert titles[0] == "No weight decay", "what helps comes first"
    assert titles[-1] == "Control: the learning rate × 1.001"
    # Of what found nothing to change, or has no finite loss but the first, there is no curve, but there is a row.
    assert not {"No normalisation", "He initialisation"} & set(titles)
    drawn = tab.js("document.getElementById('change-1').data.map(t => [t.name, t.line.color, t.y.length])")
    assert drawn.count(["unchanged, another seed", "#77808A", 60]) == 2
    assert drawn[-1] == ["with the change", "#0072B2", 60]
    assert not section.locator("table.wide").is_visible()
    section.locator("summary", has_text="All trials as a table").focus()
    tab.page.keyboard.press("Enter")
    rows = section.locator("table.wide tbody tr")
    assert rows.count() == 3 + 9
    assert rows.filter(has_text="No normalisation").inner_text().split("\t")[2] == "nothing to change"
    assert tab.complaints == []


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_evidence_unfolds_from_the_keyboard(opened, key):
    tab = opened("dying")
    details = tab.page.locator(".finding details").first
    assert not details.locator("table").is_visible()
    details.locator("summary").focus()
    tab.page.keyboard.press(key)
    assert details.locator("table").is_visible()
    tab.page.keyboard.press(key)
    assert not details.locator("table").is_visible()


def test_the_skip_link_leads_past_the_navigation(opened):
    tab = opened("dying")
    tab.page.locator("a.skip").focus()
    tab.page.keyboard.press("Enter")
    assert tab.js("document.activeElement.id") == "content"


def test_paper_is_white_and_shows_what_was_folded(fresh):
    tab = fresh("dying", dark=True)
    folded = tab.js("document.querySelectorAll('details:not([open], .numbers)').length")
    assert folded > 0
    tab.page.emulate_media(media="print")
    tab.js("dispatchEvent(new Event('beforeprint'))")
    tab.settle()
    assert tab.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.js("document.querySelectorAll('details:not([open], .numbers)').length") == 0
    assert not any(part.is_visible() for part in tab.page.locator(".numbers").all())
    found = tab.js(CONTRASTS)
    assert [one for one in found if one["ratio"] < 4.5] == []
    assert tab.js("document.getElementById('chart-1-1').data[0].colorscale[1][1]") == "rgba(213,94,0,1)"
    assert tab.js("[...document.querySelectorAll('.scroll')].map(e => getComputedStyle(e).overflowX)") == ["visible"]
    tab.js("dispatchEvent(new Event('afterprint'))")
    tab.page.emulate_media(media="screen")
    assert tab.js("document.querySelectorAll('details:not([open], .numbers)').length") == folded


@pytest.mark.parametrize("media", ["screen", "print"])
def test_without_a_script_the_verdict_and_the_tables_are_there(fresh, dying, media):
    tab = fresh("dying", script=False, media=media, dark=media == "print")
    first = dying[1][0].findings[0]
    assert tab.page.get_by_role("heading", level=1).inner_text().lower() == first.title.lower()
    rows = tab.page.locator("table.wide tbody tr")
    assert rows.count() == 5
    assert rows.nth(4).is_visible()
    assert "Charts are drawn by the page's own script" in tab.page.locator("main").inner_text()
    assert not any(chart.is_visible() for chart in tab.page.locator(".chart").all())
    assert all(caption.is_visible() for caption in tab.page.locator("figcaption").all())
    if media == "print":
        colour = tab.page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
        assert colour == "rgb(255, 255, 255)"
        ink = tab.page.locator("h1").evaluate("e => getComputedStyle(e).color")
        assert ink == "rgb(25, 28, 32)"


def test_no_script_but_the_two_of_the_page_may_run(browser, pages, tmp_path):
    text = pages["dying"].read_text(encoding="utf-8")
    assert "script-src 'sha256-" in text
    assert "unsafe-inline" not in text.partition("script-src")[2].partition(";")[0]
    assert text.partition("Content-Security-Policy")[2].startswith("\" content=\"default-src 'none';")
    smuggled = tmp_path / "smuggled.html"
    smuggled.write_text(
        text.replace("</main>", "<script>window.harm = 1</script><img src=x onerror='window.harm = 2'></main>")
    )
    tab = browser.open(smuggled)
    assert tab.js("window.harm") is None
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)
    assert len(tab.js(TRACES)) > 4
    tab.close()


@pytest.mark.parametrize("name", ["hostile", "hostile comparison"])
def test_hostile_names_are_names(opened, name):
    tab = opened(name, 400)
    text = tab.js("document.body.innerText")
    for written in ("<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", '" onclick="alert(3)'):
        assert written in text
    assert tab.js("document.querySelectorAll('main img, [onclick], [onerror]').length") == 0
    # Plotly's, ours, and data.
    assert tab.js("document.querySelectorAll('script:not(.chart-data)').length") == 2
    ticks = tab.js("[...document.querySelectorAll('.ytick text')].map(t => t.textContent)")
    assert "<script>alert(1)</script>" in ticks
    assert tab.complaints == []


def test_a_command_can_be_copied(opened):
    tab = opened("dying")
    button = tab.page.locator("button.copy").first
    button.click()
    tab.page.locator("button.copy", has_text=re.compile("Copied|Selected")).wait_for()
    copied = button.inner_text() == "Copied"
    got = tab.js("navigator.clipboard.readText()") if copied else tab.js("getSelection().toString()")
    assert got.strip() == "rectifier compare train.py --lr 0.1"
