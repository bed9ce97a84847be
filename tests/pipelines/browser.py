"""A page as Chromium shows it, wide and narrow."""

import json
import os
import re
import shutil
from html import escape, unescape
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.isolation import INHERITED
from tests.project.commands import output_of

SIZES = [(1280, 800), (390, 844)]
"""Width and height of a window."""

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), "")
needs_browser = pytest.mark.skipif(not BROWSER, reason="needs Chromium or Chrome")

# At its start Chromium tries to reach a host elsewhere, whatever its flags: in a network of its
# own that is no attempt of the test. Where tests have no such network, it does not count.
ALONE = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else [])]
HEADLESS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]

# The page is in a frame, so that its width can be less than a browser's window has at least.
# `innerText` has only what is shown: no table that is folded away.
FRAME = """<!doctype html><pre id="seen"></pre>
<iframe id="page" style="border: 0; width: {width}px; height: {height}px" srcdoc="{page}"></iframe>
<script>
onload = () => {{
  const page = document.getElementById("page").contentDocument
  const all = (of) => [...page.querySelectorAll(of)]
  const sizes = all("body *").filter((e) => e.innerText)
    .map((e) => parseFloat(getComputedStyle(e).fontSize)).filter((size) => size > 0)
  const drawn = all("svg text").filter((e) => e.checkVisibility())
    .map((e) => parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a)
  const lines = (table) => [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell, at) =>
    at ? table.tHead.rows[0].cells[at].textContent + ": " + cell.textContent : cell.textContent))
  document.getElementById("seen").textContent = JSON.stringify({{
    text: Object.fromEntries(all("h1, section").map((e) => [e.id || e.tagName, e.innerText])),
    bottom: Math.max(...all(".first section").map((e) => e.getBoundingClientRect().bottom)),
    width: page.documentElement.scrollWidth,
    letters: Math.min(...sizes, ...drawn),
    charts: all("[role=img]").map((e) => e.getAttribute("aria-label"))
      .concat(all("table.heat caption").map((e) => e.textContent)),
    titles: Object.fromEntries(all("section").map((e) =>
      [e.id, [...e.querySelectorAll("svg title")].map((title) => title.textContent)])),
    folded: Object.fromEntries(all("section").map((e) =>
      [e.id, [...e.querySelectorAll("details table")].flatMap(lines)])),
    loaded: page.defaultView.performance.getEntriesByType("resource").map((e) => e.name),
  }})
}}
</script>"""


class Seen(NamedTuple):
    """What the browser shows."""

    text: dict[str, str]
    """Visible text, by the section's id; the heading's is ``H1``."""
    titles: dict[str, list[str]]
    """What charts over time show on hover, by the section's id."""
    folded: dict[str, list[list[str]]]
    """Rows of the tables that are folded away, by the section's id: each cell with its heading, but
    for the first one."""
    bottom: float
    """Where the first three sections end, in pixels from the top of the window."""
    width: float
    """Width of what there is to see; more than the window's if the page scrolls sideways."""
    letters: float
    """Smallest size of letters, in pixels, in charts too."""
    charts: list[str]
    """Texts that stand for charts."""
    loaded: list[str]
    """Addresses that the page has loaded."""


def opened(page: str, size: tuple[int, int], folder: Path) -> Seen:
    """Open a page in a browser.

    Args:
        page: HTML.
        size: Width and height of its window.
        folder: For the browser's files.
    """
    width, height = size
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(page=escape(page), width=width, height=height), "utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    alone = ALONE if INHERITED in os.environ else []
    document = output_of(*alone, BROWSER, *HEADLESS, profile, frame.as_uri())
    found = re.search(r'<pre id="seen">(.*?)</pre>', document, re.DOTALL)
    assert found, document[:2000]
    return Seen(**json.loads(unescape(found[1])))
