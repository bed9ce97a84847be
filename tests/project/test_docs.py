"""README and docs/ say what is: errors, promises, commands, settings, metrics, links."""

import ast
import functools
import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT
from tap_barchart_events import exceptions
from tap_barchart_events.output.signals import CLOSED, SIGNALS
from tap_barchart_events.products import PRODUCTS
from tests.project.commands import Programs, output_of
from tests.settings_pages import about
from tests.tap_runs import Tap, output_mode, settings_of, synced

PAGES = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").glob("*.md"))]
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
NEVER_SHOWN = {"SyncStopped", "TransientError"}
"""Exceptions that no user meets."""


def page(name: str) -> str:
    return (PROJECT / "docs" / name).read_text(encoding="utf-8")


def test_each_class_of_error_is_documented() -> None:
    classes = {name for name, kind in vars(exceptions).items() if isinstance(kind, type)}

    assert classes > NEVER_SHOWN
    documented = set(re.findall(r"\w+", page("errors.md")))
    assert classes - NEVER_SHOWN - documented == set()


def test_each_promise_names_one_test_that_exists() -> None:
    promises, found, _ = page("guarantees.md").partition("## What no test can promise")
    bullets = re.split(r"^- ", promises, flags=re.MULTILINE)[1:]

    assert found
    assert len(bullets) > 30
    for bullet in bullets:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", bullet)
        assert len(named) == 1, bullet
        tree = ast.parse((PROJECT / named[0][0]).read_text(encoding="utf-8"))
        assert named[0][1] in [n.name for n in tree.body if isinstance(n, ast.FunctionDef)], bullet


@pytest.mark.parametrize("code", PRODUCTS)
def test_the_page_of_settings_has_each_product_with_its_number_of_event_types(code: str) -> None:
    assert f"| `{code}` | {len(PRODUCTS[code].event_types)} | " in page("settings.md")


def commands() -> Iterator[list[str]]:
    """Yield the words of each shell command of the pages, without variables set before it."""
    for block in re.findall(r"^ *```bash\n(.*?)^ *```", TEXT, re.MULTILINE | re.DOTALL):
        # The tap of the tests stands for the one that the pages install.
        text = block.replace("\\\n", " ").replace(".venv-tap/", ".venv/")
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0], re.DOTALL):
                words = words[1:]
            if words:
                yield words


def test_targets_of_make_exist() -> None:
    named = set(re.findall(r"`make ([a-z][a-z-]*)", TEXT))
    for words in commands():
        if words[0] == "make":
            named |= {word for word in words[1:] if "=" not in word}

    assert {"install", "test", "demo-postgres"} <= named
    output_of("make", "--dry-run", *sorted(named))


def test_programs_and_options_of_the_commands_exist(tmp_path: Path) -> None:
    """In a project without its user's `.env`."""
    shutil.copy(PROJECT / "meltano.yml", tmp_path)
    libraries = {".venv": "tap_barchart_events.tap", ".venv-meltano": "meltano.cli"}
    libraries[".venv-dagster"] = "dagster._cli"
    of = {name: Programs(PROJECT / name, module) for name, module in libraries.items()}

    @functools.cache
    def helped(*command: str) -> str:
        programs = of[command[0].partition("/")[0]]
        return programs(PROJECT / command[0], *command[1:], "--help", folder=tmp_path)

    checked = set()
    for words in commands():
        program = Path(words[0]).name
        if words[0] in {"tap-barchart-events", "barchart-events-emulator"}:
            words[0] = f".venv/bin/{program}"
        if words[0] == "meltano":  # the reader's own
            words[0] = ".venv-meltano/bin/meltano"
        if not words[0].startswith(".venv") or program in {"python", "dbt"}:
            continue
        if words[1:2] == ["--environment=prod"]:  # it stands before Meltano's command
            del words[1]
        options = [word for word in words if word.startswith("--")]
        known = helped(*words[: words.index(options[0]) if options else len(words)])
        unknown = [name for name in options if not re.search(rf"{name.split('=')[0]}\b", known)]
        assert unknown == [], words
        checked.add(program)

    assert checked >= {"meltano", "dagster", "dagster-daemon", "barchart-events-emulator"}


def test_variables_exist() -> None:
    known = {f"TAP_BARCHART_EVENTS_{name.upper()}" for name in about()["settings"]["properties"]}
    known.add("TAP_BARCHART_EVENTS_LOGLEVEL")  # the SDK's
    sources = (PROJECT / "orchestrate").glob("*.py")
    read = "\n".join(path.read_text(encoding="utf-8") for path in sources)

    assert set(re.findall(r"\bTAP_BARCHART_EVENTS_[A-Z_]+[A-Z]", TEXT)) <= known
    variables = re.compile(r"\bORCHESTRATE_[A-Z_]+")
    assert set(variables.findall(TEXT)) == set(variables.findall(read))


def test_metrics_are_those_of_the_tap(tmp_path: Path) -> None:
    log = ""
    for way in ("bulk", "files"):
        with Emulator(job_seconds=0.1, events_per_hour=20) as service:
            settings = settings_of(service, **output_mode(way, tmp_path, batch_size=10))
            debug = {"TAP_BARCHART_EVENTS_LOGLEVEL": "DEBUG"}
            log += Tap(tmp_path, settings, environ=debug).end().log
    logged = {json.loads(metric)["metric"] for metric in re.findall(r"METRIC: (.*)", log)}

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


def test_the_architecture_page_names_every_module_of_the_tap() -> None:
    listed = page("architecture.md").partition("\ntap_barchart_events/")[2].partition("\nbar")[0]
    folder = PROJECT / "tap_barchart_events"

    assert set(re.findall(r"^  ([a-z_/]+\.py) ", listed, re.MULTILINE)) == {
        module.relative_to(folder).as_posix()
        for module in folder.rglob("*.py")
        if not module.name.startswith("__")
    }


def test_each_place_that_the_architecture_page_names_exists() -> None:
    table = page("architecture.md").partition("## Where each decision")[2].partition("\n## ")[0]
    places = re.findall(r"(`[\w.]+`(?: and `[\w.]+`)?)\s+in\s+`([\w/]+\.py)`", table)

    assert len(places) > 10
    for names, module in places:
        source = (PROJECT / "tap_barchart_events" / module).read_text(encoding="utf-8")
        for name in re.findall(r"\w+", names.replace(" and ", " ")):
            defined = rf"^ *(def|class) {name}\b|^{name}[: ].*= "
            assert re.search(defined, source, re.MULTILINE), name


def test_the_recipe_of_the_docs_computes_every_event_id() -> None:
    (recipe,) = re.findall(r"(?ms)^```python\n(.*?)^```", page("event_id.md"))
    read: dict[str, Any] = {}
    exec(recipe, read)  # noqa: S102 - it is what a reader runs
    with Emulator(events_per_hour=100, header=True, added_column="abTest") as service:
        records = synced(settings_of(service, products=["PORTFOLIO", "WATCHLIST"])).records

    equal: Counter[str] = Counter()
    expected = set()
    for record in records:
        first = read["event_id"](record)
        expected.add(read["event_id"](record, equal[first]))
        equal[first] += 1
    assert any(record["extra"] for record in records)
    assert max(equal.values()) > 1, "no event was repeated, so no ordinal was tried"
    assert {record["event_id"] for record in records} == expected
    assert len(expected) == len(records)
