"""The page in headless Chromium: no error, every picture there, nothing wider than it."""

import json
import re
import shutil
import subprocess

import pytest

from attn.report.report import report
from attn.tests.made_up import made_up_runs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# The page reports on itself to the one that frames it: headless windows are at least 500 wide.
REPORT = """<script>addEventListener("load", () => parent.postMessage(JSON.stringify({
  width: innerWidth, content: document.documentElement.scrollWidth,
  pictures: document.images.length,
  broken: [...document.images].filter((i) => !i.complete || !i.naturalWidth).length,
  small: [...document.querySelectorAll("p, td, li, dd")].filter(
    (e) => parseFloat(getComputedStyle(e).fontSize) < 11).length,
  cut: [...document.querySelectorAll(".scroll")].filter(
    (e) => e.offsetParent && e.scrollWidth > e.clientWidth + 1).length,
  targets: [...document.querySelectorAll('a[href^="#"]')].filter(
    (a) => !document.getElementById(decodeURIComponent(a.hash.slice(1)))).length,
}), "*"))</script></body>"""
FRAME = """<body><iframe src="page.html" width="{width}" height="900"></iframe>
<script>addEventListener("message", (e) => document.body.textContent = e.data)</script></body>"""
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=20000",
    "--enable-logging=stderr",
]


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
@pytest.mark.parametrize("width", [390, 1120, 1280])
def test_the_page_in_a_browser(tmp_path, width):
    made_up_runs(tmp_path / "runs")
    report(tmp_path / "runs", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    seen, errors = look(page, width, tmp_path)
    assert not errors
    assert abs(seen["width"] - width) <= 20  # a frame's borders and scroll bar
    assert seen["content"] <= seen["width"]
    assert seen["pictures"] == page.count("<img ") > 5
    assert seen["broken"] == seen["small"] == seen["targets"] == 0
    assert seen["cut"] == 0 or width < 1120


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_no_column_is_lost_on_paper(tmp_path):
    """The rules for print on a screen as wide as a sheet of A4 on its side, less its margins."""
    made_up_runs(tmp_path / "runs")
    report(tmp_path / "runs", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    seen, errors = look(page.replace("@media print", "@media screen"), 1032, tmp_path)
    assert not errors and seen["content"] <= seen["width"] and seen["cut"] == 0


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_a_broken_page_would_be_noticed(tmp_path):
    wide = '<p style="width: 900px; font-size: 6px">wide</p><a href="#nowhere">there</a>'
    wide += '<div class="scroll" style="overflow: auto"><p style="width: 900px">cut</p></div>'
    broken = '<img src="missing.png"><script>nothing()</script>'
    seen, errors = look(f"<html><body>{wide}{broken}</body></html>", 390, tmp_path)
    assert seen["content"] > seen["width"] and "nothing is not defined" in errors
    assert seen["broken"] == seen["small"] == seen["targets"] == seen["cut"] == 1


def look(page: str, width: int, tmp_path):
    """What a page says of itself in a frame of some width, and the console's errors."""
    (tmp_path / "page.html").write_text(page.replace("</body>", REPORT))
    (tmp_path / "frame.html").write_text(FRAME.format(width=width))
    window = [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1500,1000", "--dump-dom"]
    command = [CHROMIUM, *OPTIONS, *window, (tmp_path / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    errors = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(re.search(r"\{.*\}", done.stdout)[0]), errors
