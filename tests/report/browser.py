"""A real headless Chromium, and what a page does in it."""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TRACES = "Object.fromEntries([...document.querySelectorAll('.js-plotly-plot')].map(d => [d.id, d.data]))"

CONTRASTS = """
(() => {
  const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const parsed = (colour) => {
    if (!known.has(colour)) {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const luminance = (colour) => colour.slice(0, 3)
    .map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parsed(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || element.closest("script, style, noscript, .hidden, .skip") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const ink = over(parsed(element instanceof SVGElement ? style.fill : style.color), ground);
    const [light, dark] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
    found.push({ text: text.slice(0, 60), ratio: (light + 0.05) / (dark + 0.05) });
  }
  return found;
})()
"""


def find_chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


class Browser:
    """One browser; `open` gives a tab with the page loaded and drawn."""

    def __init__(self, executable):
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=executable, args=FLAGS)

    def close(self):
        self._browser.close()
        self._playwright.stop()

    def open(self, page: Path, *, width=1400, dark=False, script=True, media=None):
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        return Tab(context, page, media, settle=script)


class Tab:
    """One page in a context of its own.

    Attributes:
        page: Playwright's.
        complaints: What its console says is wrong, uncaught exceptions and dialogs.
        requested: Addresses that it asked for, itself and data in links aside.
    """

    def __init__(self, context, path, media, *, settle):
        self._context = context
        self.page = context.new_page()
        self.complaints, self.requested = [], []
        self._metrics = context.new_cdp_session(self.page)
        self._metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
        own = path.resolve().as_uri()
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        # Plotly warns by console.log, too.
        self.page.on("console", lambda said: self.complaints.append(said.text) if "WARN" in said.text else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda sent: self._note(sent.url, own))
        self.page.goto(own)
        if media:
            self.page.emulate_media(media=media)
        if settle:
            # A page of ours draws its charts one after the other. Its policy forbids the eval of wait_for_function.
            self.wait_until(
                "!document.querySelector('.chart-data') || performance.getEntriesByName('drawn').length > 0"
            )
            self.settle()

    def _dialog(self, dialog):
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note(self, url, own):
        if url.partition("#")[0] != own and not url.startswith(("data:", "blob:")):
            self.requested.append(url)

    def js(self, expression):
        return self.page.evaluate(expression)

    def cpu_seconds(self):
        """What the page's thread has worked so far."""
        found = self._metrics.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in found if one["name"] == "ThreadTime")

    def wait_until(self, condition):
        self.js(f"new Promise(done => {{ const look = () => ({condition}) ? done() : setTimeout(look, 10); look(); }})")

    def settle(self):
        """Wait until everything asked for so far has been laid out and painted."""
        self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def close(self):
        self._context.close()
