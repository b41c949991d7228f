"""`triptych benchmark pages --only browser`: how long each news page takes in a real browser until
it is drawn, over a database with as many invented items as are asked for.

A page is opened in a tab of its own, as somebody opens it who had none; it is drawn once the script
behind it has ended, its headline stands there and each chart has been painted.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from pipelines.benchmark_pages import DAYS, fill
from pipelines.dashboard import dashboard_process
from shared.errors import ServiceError
from shared.settings import Home

PAGES = (
    "overview_page", "topic_page", "alerts_page", "stories_page", "outbox_page", "companies_page",
    "sources_page", "laboratory_page", "shadow_page", "headline_page", "settings_page",
)  # fmt: skip
WAIT_SECONDS = 180
DRAWN = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    const all = name => [...document.querySelectorAll(`[data-testid="${name}"]`)];
    return app && app.dataset.testScriptState === 'notRunning' && document.querySelector('h1')
        && !all('stSkeleton').length
        && all('stVegaLiteChart').every(chart => chart.querySelector('canvas, svg'));
}"""


@dataclass(frozen=True)
class PageTime:
    """Medians of several visits: seconds until a page is drawn, and of the server's processor."""

    page: str
    seconds: float
    cpu_seconds: float


def benchmark_browser(
    rows: int, say: Callable[[str], None], *, repeats: int = 3, days: int = DAYS
) -> list[PageTime]:
    """Fill a database with `rows` items of so many days and open every news page on it.

    Raises ServiceError without a browser, or for a page that is not drawn or shows an error.
    """
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        raise ServiceError(
            "no browser: install Chromium (`apt-get install chromium`) and the extra dev "
            "(`pip install 'triptych[dev]'`)"
        )
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="triptych-browser-") as folder:
        home = Home(Path(folder))
        fill(home.database_url, rows, days)
        say(f"{rows} items are stored; each page is opened {repeats} times")
        with _served(home) as (address, number), sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            _visit(browser, f"{address}/{PAGES[0]}", number)  # what is imported once
            found = []
            for page in PAGES:
                visits = [_visit(browser, f"{address}/{page}", number) for _ in range(repeats)]
                seconds, cpu = (median(part) for part in zip(*visits, strict=True))
                found.append(PageTime(page, seconds, cpu))
                say(f"  {page:<16} {seconds:6.2f} s  ({cpu:.2f} s of the server's processor)")
            browser.close()
    return found


def _visit(browser: Any, address: str, process: int) -> tuple[float, float]:
    """Seconds, and processor seconds of the server, until the page is drawn."""
    from playwright.sync_api import TimeoutError as Late

    tab = browser.new_page(viewport={"width": 1280, "height": 950})
    used, begun = _processor(process), time.monotonic()
    try:
        tab.goto(address)
        tab.wait_for_function(DRAWN, timeout=WAIT_SECONDS * 1000)
    except Late:
        raise ServiceError(f"{address} is not drawn after {WAIT_SECONDS} s") from None
    took = time.monotonic() - begun, _processor(process) - used
    if tab.locator('[data-testid="stException"]').count():
        raise ServiceError(f"{address} shows an error")
    tab.close()
    return took


@contextmanager
def _served(home: Home) -> Iterator[tuple[str, int]]:
    """The address of a dashboard over this home, and the number of its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        **dashboard_process(home, "127.0.0.1", port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + WAIT_SECONDS
        while not _answers(f"{address}/_stcore/health"):
            if process.poll() is not None or time.monotonic() > end:
                raise ServiceError(f"the dashboard does not answer at {address}")
            time.sleep(0.5)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=2):
            return True
    except (URLError, OSError):
        return False


def _processor(process: int) -> float:
    """Seconds of processor that a process has used, by /proc; 0 where there is none."""
    try:
        line = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    fields = line.rpartition(")")[2].split()  # after the name, which may hold blanks
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
