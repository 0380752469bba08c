"""A real headless Chromium, driven over its debugging pipe: no driver package, no port, no network."""

import json
import os
import shutil
import subprocess
import time
from base64 import b64decode
from pathlib import Path

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --hide-scrollbars --remote-debugging-pipe"
).split()
_SECONDS = 60.0


def find_chromium():
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    return None


class Browser:
    """One browser; `open` gives a tab with the page loaded and drawn."""

    def __init__(self, executable, profile):
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        self._buffer = b""
        self._number = 0
        self._events = []

        def wire():
            # Chromium reads its commands from descriptor 3 and answers on 4. Both ends are copied out of the way
            # first: pipes may have been given these very numbers.
            source, target = os.dup(to_browser), os.dup(from_browser)
            while source in (3, 4):
                source = os.dup(source)
            while target in (3, 4):
                target = os.dup(target)
            os.dup2(source, 3)
            os.dup2(target, 4)

        self._process = subprocess.Popen(
            [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=wire, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        os.set_blocking(self._read, False)

    def close(self):
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method, session=None, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        number = self._number
        answer = self._until(lambda got: got.get("id") == number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, page: Path, *, width=1400, height=900, dark=False):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.resize(width, height)
        tab.scheme(dark)
        tab.call("Page.navigate", url=page.resolve().as_uri())
        self._until(lambda got: got.get("sessionId") == session and got.get("method") == "Page.loadEventFired")
        return tab

    def events(self, session, method):
        return [e["params"] for e in self._events if e.get("sessionId") == session and e["method"] == method]

    def _until(self, wanted):
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            while b"\0" in self._buffer:
                text, _, self._buffer = self._buffer.partition(b"\0")
                got = json.loads(text)
                if "method" in got:
                    self._events.append(got)
                if wanted(got):
                    return got
            try:
                part = os.read(self._read, 1 << 20)
            except BlockingIOError:
                time.sleep(0.005)
                continue
            if not part:
                raise OSError("chromium ended")
            self._buffer += part
        raise TimeoutError(f"chromium said nothing expected for {_SECONDS:.0f} s")


class Tab:
    def __init__(self, browser, session):
        self._browser = browser
        self._session = session

    def call(self, method, **params):
        return self._browser.call(method, self._session, **params)

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, dark):
        value = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def js(self, expression):
        """The value of an expression; a promise is waited for."""
        got = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise RuntimeError(got["exceptionDetails"])
        return got["result"].get("value")

    def settle(self):
        """Wait until everything asked for so far has been laid out and painted."""
        self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))")

    def press(self, key, code=None, **more):
        code = key if code is None else code
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, **more)

    @property
    def complaints(self):
        """What the console of the page says is wrong: errors and warnings, uncaught exceptions."""
        logged = [e["entry"]["text"] for e in self._browser.events(self._session, "Log.entryAdded")]
        thrown = [str(e["exceptionDetails"]) for e in self._browser.events(self._session, "Runtime.exceptionThrown")]
        said = [
            str(e["args"]) for e in self._browser.events(self._session, "Runtime.consoleAPICalled")
            if e["type"] in ("error", "warning", "assert")
        ]  # fmt: skip
        return logged + thrown + said

    @property
    def requested(self):
        """Addresses that the page asked for, itself and data in links aside."""
        sent = [e["request"]["url"] for e in self._browser.events(self._session, "Network.requestWillBeSent")]
        return [url for url in sent[1:] if not url.startswith(("data:", "blob:"))]

    def shoot(self, path: Path):
        self.settle()
        got = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(b64decode(got["data"]))

    def shoot_all(self, path: Path, width):
        """The whole page, however long."""
        height = int(self.js("document.documentElement.scrollHeight"))
        self.resize(width, height)
        self.shoot(path)
