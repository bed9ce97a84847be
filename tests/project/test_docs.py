"""README and docs/ say what is: errors, promises, commands, settings, metrics, links."""

from __future__ import annotations

import ast
import functools
import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT
from tap_barchart_events import exceptions
from tap_barchart_events.output.signals import CLOSED, SIGNALS
from tap_barchart_events.products import PRODUCTS
from tests.project.commands import ran
from tests.settings_pages import about
from tests.tap_runs import Tap, output_mode, settings_of

PAGES = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").glob("*.md"))]
NEVER_SHOWN = {"SyncStopped", "TransientError"}
"""Exceptions that no user meets."""


def page(name: str) -> str:
    return (PROJECT / "docs" / name).read_text(encoding="utf-8")


def all_pages() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in PAGES)


def test_each_class_of_error_is_documented() -> None:
    classes = {name for name, kind in vars(exceptions).items() if isinstance(kind, type)}

    assert classes > NEVER_SHOWN
    documented = set(re.findall(r"\w+", page("errors.md")))
    assert classes - NEVER_SHOWN - documented == set()


def test_each_promise_names_one_test() -> None:
    promises, found, _ = page("guarantees.md").partition("## What no test can promise")
    bullets = re.split(r"^- ", promises, flags=re.MULTILINE)[1:]

    assert found
    assert len(bullets) > 30
    for bullet in bullets:
        assert len(re.findall(r"`tests/[\w/]+\.py::\w+`", bullet)) == 1, bullet


@pytest.mark.parametrize(
    ("path", "name"), re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page("guarantees.md"))
)
def test_a_test_that_a_promise_names_exists(path: str, name: str) -> None:
    tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))

    assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("code", PRODUCTS)
def test_the_page_of_settings_has_each_product_with_its_number_of_event_types(code: str) -> None:
    assert f"| `{code}` | {len(PRODUCTS[code].event_types)} | " in page("settings.md")


def commands() -> Iterator[list[str]]:
    """Yield the words of each shell command of the pages, without variables set before it."""
    for block in re.findall(r"^```bash\n(.*?)^```", all_pages(), re.MULTILINE | re.DOTALL):
        # The tap of the tests stands for the one that the pages install.
        text = block.replace("\\\n", " ").replace(".venv-tap/", ".venv/")
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0], re.DOTALL):
                words = words[1:]
            if words:
                yield words


def test_targets_of_make_exist() -> None:
    named = set(re.findall(r"`make ([a-z][a-z-]*)", all_pages()))
    for words in commands():
        if words[0] == "make":
            named |= {word for word in words[1:] if "=" not in word}

    assert {"install", "test", "demo-postgres"} <= named
    assert ran("make", "--dry-run", *sorted(named)).returncode == 0


@functools.cache
def helped(*command: str) -> str:
    """Return what a command says with `--help`, in a project without its user's `.env`."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(PROJECT / "meltano.yml", folder)
        done = ran(str(PROJECT / command[0]), *command[1:], "--help", folder=Path(folder))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_programs_and_options_of_the_commands_exist() -> None:
    checked = set()
    for words in commands():
        program = Path(words[0]).name
        if not words[0].startswith(".venv") or program in {"python", "dbt"}:
            continue
        options = [word for word in words if word.startswith("--")]
        known = helped(*words[: words.index(options[0]) if options else len(words)])
        unknown = [name for name in options if not re.search(rf"{name.split('=')[0]}\b", known)]
        assert unknown == [], words
        checked.add(program)

    assert checked >= {"meltano", "dagster", "dagster-daemon", "tap-barchart-events"}


def test_variables_exist() -> None:
    known = {f"TAP_BARCHART_EVENTS_{name.upper()}" for name in about()["settings"]["properties"]}
    known.add("TAP_BARCHART_EVENTS_LOGLEVEL")  # the SDK's
    sources = (PROJECT / "orchestrate").glob("*.py")
    read = "\n".join(path.read_text(encoding="utf-8") for path in sources)

    assert set(re.findall(r"\bTAP_BARCHART_EVENTS_[A-Z_]+[A-Z]", all_pages())) <= known
    variables = re.compile(r"\bORCHESTRATE_[A-Z_]+")
    assert set(variables.findall(all_pages())) == set(variables.findall(read))


def test_metrics_are_those_of_the_tap(tmp_path: Path) -> None:
    logged = set()
    for way in ("bulk", "files"):
        with Emulator(job_seconds=0.1, events_per_hour=20) as service:
            settings = settings_of(service, **output_mode(way, tmp_path, batch_size=10))
            outcome = Tap(tmp_path, settings).end()
        metrics = re.findall(r"METRIC: (.*)", outcome.log)
        logged |= {json.loads(metric)["metric"] for metric in metrics}

    table = page("operations.md").partition("| metric | meaning |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` ", table, re.MULTILINE)) == logged


def test_exit_codes_are_those_of_the_tap() -> None:
    text = page("operations.md")

    assert f"| {CLOSED} | stdout was closed" in text
    for number in SIGNALS:
        assert f"{128 + number} {number.name}" in text


def anchors(path: Path) -> set[str]:
    """Return the anchors that the headings of a page make."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_the_pages_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            other = (path.parent / name).resolve() if name else path
            assert other.exists(), target
            assert not anchor or anchor in anchors(other), target


def test_the_plugin_definition_for_the_hub_is_that_of_meltano_yml() -> None:
    hub: dict[str, Any] = yaml.safe_load(
        (PROJECT / "hub" / "tap-barchart-events.yml").read_text(encoding="utf-8")
    )
    project = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))
    (tap,) = project["plugins"]["extractors"]

    for key in ("name", "namespace", "label", "description", "executable", "capabilities"):
        assert hub[key] == tap[key], key
    assert hub["settings"] == tap["settings"]
    assert set(hub["settings_group_validation"][0]) == set(about()["settings"]["required"])
