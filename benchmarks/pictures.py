"""The pictures of docs/pictures: the pages of a run and a study, and TensorBoard, in Chromium.

    python benchmarks/pictures.py saved_models/ag_news-bert_tiny saved_models/demo_study

TensorBoard listens on the loopback address while its picture is taken.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
DESKTOP, PHONE = (1280, 900), (390, 844)
PORT = 6017


def main(arguments: Sequence[str] | None = None) -> int:
    """Takes all pictures; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a run with its report.html")
    parser.add_argument("study", type=Path, help="folder of a study with its report.html")
    parser.add_argument("--output", type=Path, default=PICTURES)
    options = parser.parse_args(arguments)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("Error: Expected Chromium. Install it: apt install chromium.", file=sys.stderr)
        return 1
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, folder in (("report", options.run), ("study", options.study)):
            page = (folder / "report.html").resolve().as_uri()
            take(browser, page, options.output / f"{name}.png", DESKTOP, "light")
        take(browser, page, options.output / "study-dark.png", DESKTOP, "dark")
        page = (options.run / "report.html").resolve().as_uri()
        take(browser, page, options.output / "report-phone.png", PHONE, "dark")
        take(browser, f"{page}#texts", options.output / "report-texts.png", DESKTOP, "dark")
        tensorboard(browser, options.run / "logs", options.output / "tensorboard.png")
        browser.close()
    return 0


def take(browser: Browser, address: str, path: Path, size: tuple[int, int], scheme: str) -> None:
    """The first screen of a page."""
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(address)
    page.screenshot(path=path)
    page.close()


def tensorboard(browser: Browser, logs: Path, path: Path) -> None:
    """TensorBoard's first screen, as it opens."""
    options = ("--logdir", str(logs), "--host", "127.0.0.1", "--port", str(PORT))
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in server.stderr or ():
            if "Press CTRL+C" in line:
                break
        page = browser.new_page(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
        page.goto(f"http://127.0.0.1:{PORT}")
        page.locator("card-view").first.wait_for(timeout=60_000)
        # Curves are drawn after their cards are there.
        page.wait_for_timeout(5_000)
        page.screenshot(path=path)
        page.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
