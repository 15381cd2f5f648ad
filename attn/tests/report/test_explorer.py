"""explorer.html in a browser: it draws, filters, and keeps its choice in the address."""

import html
import json
import re
import subprocess

import pytest

from attn.evidence.collect import collect
from attn.evidence.group import named
from attn.report.explorer import write_explorer
from attn.tests.made_up import SCORES, run
from attn.tests.report.test_page import CHROMIUM, OPTIONS

# What a person does, by the elements of the page, and what is seen then.
SCRIPT = """<script>
const seen = {};
const rows = () => [...document.querySelectorAll("ol > li")];
const choose = (name, value) => {
  const select = document.querySelector(`select[name=${name}]`);
  select.value = value;
  select.dispatchEvent(new Event("change"));
};
seen.given = location.hash;
seen.drawn = rows().length;
seen.names = rows().map((row) => row.querySelector(".name").firstChild.textContent);
seen.numbers = rows().map((row) => row.querySelector(".number").textContent);
seen.open = document.querySelectorAll(".more").length;
seen.text = document.querySelector(".more")?.textContent ?? "";
seen.pictures = [...document.images].filter((image) => image.naturalWidth).length;
seen.dots = document.querySelectorAll("circle").length;
seen.native = [...document.querySelectorAll("ol > li > *:first-child, form label > *")].every(
  (e) => ["BUTTON", "SELECT"].includes(e.tagName) && e.tabIndex === 0);
seen.wide = document.documentElement.scrollWidth - innerWidth;
choose("location", "first");
seen.filtered = rows().length;
document.querySelector("ol button")?.click();
seen.opened = document.querySelectorAll(".more code").length;
seen.focused = document.activeElement.tagName;
seen.expanded = document.activeElement.ariaExpanded;
seen.kept = location.hash;
choose("attention", "static");
choose("location", "");
seen.again = rows().length;
parent.postMessage(JSON.stringify(seen), "*");
</script></body>"""
FRAME = """<body><iframe src="explorer.html{address}" width="{width}" height="900"></iframe>
<script>addEventListener("message", (e) => document.body.textContent = e.data)</script></body>"""


@pytest.fixture
def page(tmp_path):
    for seed in range(3):
        for data in ("rgb", "rgb_noise"):
            run(tmp_path / "runs", seed, 0.8 + 0.01 * seed, data=data, configuration=f"n{data}")
        for attention in ("cbam_channel", "static"):
            words = {"attention": attention, "location": "first", "configuration": attention}
            run(tmp_path / "runs", seed, 0.82 + 0.01 * seed, SCORES, **words)
        words = {"attention": "se", "location": "per_block", "stages": "blocks 1+4"}
        run(tmp_path / "runs", seed, 0.7, data="rgb", configuration="se", **words)
    write_explorer(named(collect(tmp_path / "runs").groups), tmp_path)
    return tmp_path / "explorer.html"


def look(page, width: int, address: str = ""):
    """What the page's script saw in a frame of some width, and the console's errors."""
    original = page.read_text()
    page.write_text(original.replace("</body>", SCRIPT))
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.format(width=width, address=address))
    profile = [f"--user-data-dir={page.parent / 'profile'}", "--window-size=1500,1000"]
    command = [CHROMIUM, *OPTIONS, *profile, "--dump-dom", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    page.write_text(original)
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(re.search(r"\{.*\}", html.unescape(done.stdout))[0]), errors


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
@pytest.mark.parametrize("width", [400, 1120])
def test_it_draws_filters_and_keeps_the_choice_in_the_address(page, width):
    seen, errors = look(page, width)
    assert not errors
    assert (seen["drawn"], seen["dots"], seen["open"], seen["given"]) == (5, 15, 0, "")
    assert seen["names"][:2] == ["cbam_channel at first", "static at first"]
    assert (
        "se blocks 1+4 at per_block" in seen["names"] and seen["names"].count("no attention") == 2
    )
    assert seen["numbers"][0] == "83.00%n=3, +2.00"
    assert sum("n=3," not in number for number in seen["numbers"]) == 2  # without attention
    assert seen["native"] and seen["wide"] <= 0
    assert (seen["filtered"], seen["opened"], seen["again"]) == (2, 1, 1)
    assert (seen["focused"], seen["expanded"]) == ("BUTTON", "true")
    assert seen["kept"].startswith("#location=first&open=post%2Fcbam_channel")
    again, errors = look(page, width, seen["kept"].replace("&", "&amp;"))
    assert not errors and (again["drawn"], again["open"]) == (2, 1)
    assert (
        again["pictures"] == 6 and "R 0.980" in again["text"] and "noise 1 0.010" in again["text"]
    )
    assert "seeds=[0,1,2]" in again["text"] and "+2.00" in again["text"]


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_a_choice_that_nothing_fits_is_no_error(page):
    seen, errors = look(page, 1120, "#attention=none_of_these&amp;location=last")
    assert not errors and seen["drawn"] == 0


def test_the_page_is_one_file_without_a_network(page):
    text = page.read_text()
    assert not re.search(r"(src|href)=\"(?!data:|report\.html)", text) and "http" not in text
    assert len(text) < 100_000
