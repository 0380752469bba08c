"""Take the README's picture: `rectifier demo` writes its page, a headless Chromium photographs its first screen.

python docs/picture.py              # docs/demo.png
python docs/picture.py page.html    # of a page that is there already
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURE = Path(__file__).parent / "demo.png"
WIDTH, HEIGHT = 1120, 1630
LARGEST_BYTES = 250_000


def main(page: Path | None = None) -> None:
    """Write `docs/demo.png`."""
    with tempfile.TemporaryDirectory() as folder:
        if page is None:
            page = Path(folder) / "demo.html"
            subprocess.run([sys.executable, "-m", "rectifier", "demo", "--html", str(page)], check=True)
        taken = Path(folder) / "demo.png"
        photograph(page, taken)
        if taken.stat().st_size > LARGEST_BYTES:
            sys.exit(f"the picture has {taken.stat().st_size:,} bytes, more than {LARGEST_BYTES:,}: make it smaller")
        shutil.copy(taken, PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


def photograph(page: Path, to: Path) -> None:
    """Open a page, let its charts be drawn, and keep its first screen as a PNG."""
    chromium = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
    if chromium is None:
        sys.exit("no Chromium on the PATH")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000"]
    subprocess.run(
        [chromium, *flags, f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={to}", page.resolve().as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip


if __name__ == "__main__":
    main(*(Path(name) for name in sys.argv[1:]))
