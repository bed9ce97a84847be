"""The pages under docs/ say what is: each error, command, setting, metric and number in them."""

from __future__ import annotations

import ast
import functools
import json
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT
from tap_barchart_events import exceptions
from tap_barchart_events.config.declaration import CONFIG_JSONSCHEMA
from tap_barchart_events.output.signals import CLOSED, SIGNALS
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import from_iso
from tests.tap_runs import START, Tap, output_mode, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = PROJECT / "docs"
PAGES = [*sorted(PROJECT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
TAP = PROJECT / "tap_barchart_events"
GAP = "…"
"""What stands in a message for something that differs."""

# Errors that are caught in the tap and reported by another name, and one that nobody ever meets.
REPORTED_AS = {"TransientError": "ServiceError"}
INSIDE = {"SyncStopped"}
# Variables that belong to the SDK or to the sources of others.
FOREIGN_VARIABLES = {"TAP_BARCHART_EVENTS_LOGLEVEL"}
MESSAGES_OF_THE_SDK = {"Skipping deselected stream 'events'."}


def tree() -> set[str]:
    """Return the names of all errors that a user can meet."""
    classes = {name for name, kind in vars(exceptions).items() if isinstance(kind, type)}
    return classes - INSIDE


def rows(page: Path) -> list[list[str]]:
    """Return the cells of all rows of a page's tables, but for their heads."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
        if line.startswith("|") and not line.startswith(("| --- ", "| ---: ", "| | |"))
    ]


def documented_errors() -> list[tuple[str, list[str]]]:
    """Return each error of the page of errors, and the pieces of its message."""
    found = [
        (error, pieces(message.split("`")[1]))
        for error, message, _ in (row for row in rows(DOCS / "errors.md") if len(row) == 3)
        if error.endswith("Error")
    ]
    assert found
    return found


def pieces(message: str) -> list[str]:
    """Return what is fixed in a message."""
    return [piece for piece in message.split(GAP) if piece.strip(" :;,")]


@functools.cache
def raised() -> list[tuple[str, str]]:
    """Return each error that the tap makes: its name, and its message with gaps."""
    return [
        (REPORTED_AS.get(call.func.id, call.func.id), written(call.args[0]))
        for path in sorted(TAP.rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and REPORTED_AS.get(call.func.id, call.func.id) in tree()
        and call.args
    ]


def written(message: ast.expr) -> str:
    """Return a message as it stands in the source, with a gap for each value."""
    match message:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(written, parts))
        case ast.BinOp(left=left, right=right):
            return written(left) + written(right)
        case _:
            return GAP


def holds(text: str, fixed: list[str]) -> bool:
    """Tell whether the pieces stand in a text, in order."""
    return bool(re.search(".*".join(map(re.escape, fixed)), text, re.DOTALL))


def test_each_error_of_the_tree_is_on_the_page_of_errors() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8")

    assert {name for name in tree() if name not in text} == set()


def test_each_message_that_the_tap_has_is_on_the_page_of_errors() -> None:
    rows_of_errors = documented_errors()
    messages = [(e, text) for e, text in raised() if len(re.sub(r"\W|…", "", text)) > 8]

    assert len(messages) > 40
    missing = [
        (error, text)
        for error, text in messages
        if not any(error == name and holds(text, fixed) for name, fixed in rows_of_errors)
    ]
    assert missing == []


def test_each_message_on_the_page_of_errors_is_one_that_the_tap_has() -> None:
    sources = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(TAP.rglob("*.py"))]
    texts = [
        written(node)
        for source in sources
        for node in ast.walk(source)
        if isinstance(node, ast.JoinedStr | ast.BinOp | ast.Constant)
    ]

    unknown = [
        (error, piece)
        for error, fixed in documented_errors()
        for piece in fixed
        if not any(piece.strip() in text for text in texts)
    ]
    assert unknown == []


def command_line_texts() -> list[str]:
    """Return what the command line says of errors that are not the tap's own, and warnings."""
    found = []
    for module in ("tap", "command", "streams", "sync", "state", "config/codes"):
        for node in ast.walk(ast.parse((TAP / f"{module}.py").read_text(encoding="utf-8"))):
            match node:
                case ast.Return(value=ast.JoinedStr() as value) if module == "command":
                    found.append(written(value))
                case ast.Yield(value=ast.JoinedStr() as value):
                    found.append(written(value))
                case ast.Call(func=ast.Attribute(attr="warning"), args=[message, *_]):
                    found.append(written(message).replace("%s", GAP))
    return [text for text in found if len(text.strip(GAP)) > 8]


def test_what_the_command_line_says_and_warns_of_is_on_a_page() -> None:
    documented = [
        pieces(cells[0].strip("`"))
        for name in ("errors", "operations")
        for cells in rows(DOCS / f"{name}.md")
        if cells[0].startswith("`")
    ]
    said = command_line_texts()

    assert len(said) > 8
    assert [t for t in said if not any(holds(t, fixed) for fixed in documented if fixed)] == []


def test_what_the_page_says_of_the_command_line_is_what_it_says() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    table = page.partition("| message without an error |")[2].partition("\n\n")[0].splitlines()[2:]
    messages = [line.split("`")[1] for line in table]
    own = [text for text in messages if text not in MESSAGES_OF_THE_SDK]

    assert len(own) > 8
    assert [
        m for m in own if not any(holds(text, pieces(m)) for text in command_line_texts())
    ] == []


@pytest.mark.parametrize("code", PRODUCTS)
def test_the_page_of_settings_has_each_known_product_with_its_number_of_event_types(
    code: str,
) -> None:
    text = (DOCS / "settings.md").read_text(encoding="utf-8")

    assert f"| `{code}` | {len(PRODUCTS[code].event_types)} | " in text


def blocks() -> Iterator[tuple[str, str]]:
    """Yield each block of shell commands: its page and its text."""
    for page in PAGES:
        for block in re.findall(
            r"^```bash\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
        ):
            yield page.name, block.replace("\\\n", " ")


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of each command of the pages, without variables set before it."""
    for _, block in blocks():
        for line in block.splitlines():
            # The tap of the tests stands for the one that the pages install.
            words = shlex.split(line.replace(".venv-tap/", ".venv/"), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0], re.DOTALL):
                words = words[1:]
            if words:
                yield tuple(words)


def test_targets_of_make_on_the_pages_exist() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"`make ([a-z][a-z-]*)", text))
    for words in commands():
        if words[0] == "make":
            named |= {word for word in words[1:] if "=" not in word}

    assert {"install", "test", "demo-postgres"} <= named
    subprocess.run(
        ["make", "--dry-run", *sorted(named)],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )


@functools.cache
def helped(*command: str) -> str:
    """Return what a command says with `--help`, in a project without its user's `.env`."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(PROJECT / "meltano.yml", folder)
        done = subprocess.run(
            [PROJECT / command[0], *command[1:], "--help"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    return done.stdout


def test_programs_and_options_of_the_commands_on_the_pages_exist() -> None:
    checked = set()
    for words in commands():
        program = Path(words[0])
        if not words[0].startswith(".venv") or program.name in {"python", "dbt"}:
            continue
        options = [word for word in words if word.startswith("--")]
        first = words.index(options[0]) if options else len(words)
        known = helped(*words[:first])
        unknown = [name for name in options if not re.search(rf"{name.split('=')[0]}\b", known)]
        assert unknown == [], words
        checked.add(program.name)

    assert checked >= {"meltano", "dagster", "dagster-daemon", "tap-barchart-events"}


def test_variables_on_the_pages_exist() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    settings = {f"TAP_BARCHART_EVENTS_{name.upper()}" for name in CONFIG_JSONSCHEMA["properties"]}
    # These two are the SDK's own settings, which it adds by itself.
    settings |= {"TAP_BARCHART_EVENTS_BATCH_CONFIG", "TAP_BARCHART_EVENTS_STREAM_MAPS"}
    read = {
        name
        for path in (PROJECT / "orchestrate").glob("*.py")
        for name in re.findall(r"ORCHESTRATE_[A-Z_]+", path.read_text(encoding="utf-8"))
    }

    named = set(re.findall(r"\bTAP_BARCHART_EVENTS_[A-Z_]+[A-Z]", text))
    assert named - settings - FOREIGN_VARIABLES == set()
    assert set(re.findall(r"\bORCHESTRATE_[A-Z_]+", text)) == read


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Run the tap twice; return level and text of each log line.

    One run writes records, one BATCH files. The service runs two jobs at once. In both runs a
    call fails, a job is too large, one fails, two exports have rows of other windows, one of these
    a header with other columns, one is labelled falsely, and the setting ``columns`` misnames two
    columns and has one that the schema does not know.
    """
    folder = tmp_path_factory.mktemp("logged")
    columns = [*PRODUCTS["WATCHLIST"].layouts[0][:-1], "added"]
    columns[3:5] = columns[4], columns[3]
    # one before start_date, and some in each window
    instants = range(from_iso(START) - 5_000, from_iso(START) + 86_400_000, 5_000)
    whole_day = "".join(f"{at}|WATCHLIST-CREATED|u||||||\n" for at in instants).encode()
    header = b"timestamp|type|userId|a|b|c|d|e|f\n"
    misread = {"columns": {"WATCHLIST": columns}, "layout_check": "warning"}
    lines = []
    for way in ("bulk", "files"):
        with Emulator(job_seconds=0.1, events_per_hour=20, max_running_jobs=2) as service:
            service.fault("poll", "status", code=503)
            service.fault("start", "job-timeout")
            service.fault("start", "job-failed", after=1)
            service.fault("download", "body", body=whole_day)
            service.fault("download", "form", content_encoding="UTF-8")
            service.fault("download", "body", body=header + whole_day, after=1)
            settings = settings_of(service, **misread, **output_mode(way, folder, batch_size=10))
            outcome = Tap(folder, settings).end()
        assert outcome.code == 0, outcome.log
        lines += [line.split(" | ", 3) for line in outcome.log.splitlines()]
    return [(level.strip().lower(), text) for _, level, _, text in lines]


def reasons_of_sizes() -> list[str]:
    """Return each reason that the planner reports for a change of the size of windows."""
    planner = ast.parse((TAP / "exports" / "planner.py").read_text(encoding="utf-8"))
    return [
        written(returned.value)
        for function in ast.walk(planner)
        if isinstance(function, ast.FunctionDef) and function.name == "size_changed"
        for returned in ast.walk(function)
        if isinstance(returned, ast.Return) and isinstance(returned.value, ast.JoinedStr)
    ]


def test_log_lines_on_the_page_of_operations_are_those_of_the_tap(
    logged: list[tuple[str, str]],
) -> None:
    changing = re.compile(r"\d[\d.,:-]*( (s|min|h|bytes|[kMG]B)\b)?")
    documented = [
        (level, pieces(changing.sub(GAP, line.strip("`"))))
        for line, level, _ in (row for row in rows(DOCS / "operations.md") if len(row) == 3)
        if level in {"info", "warning", "error"}
    ]

    assert len(documented) > 3
    reasons = [("info", f"TGAM/WATCHLIST: {reason}") for reason in reasons_of_sizes()]
    assert len(reasons) == 1
    for level, fixed in documented:
        assert any(level == at and holds(text, fixed) for at, text in logged + reasons), fixed
    for at, text in logged + reasons:
        if at != "info" or (at, text) in reasons:
            assert any(level == at and holds(text, fixed) for level, fixed in documented), text


def test_metrics_on_the_page_of_operations_are_those_of_the_tap(
    logged: list[tuple[str, str]],
) -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    table = page.partition("| metric | kind |")[2].partition("\n\n")[0]
    named = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }

    metrics = [text.removeprefix("METRIC: ") for _, text in logged if text.startswith("METRIC: ")]
    assert named == {json.loads(metric)["metric"] for metric in metrics}


def test_exit_codes_on_the_page_of_operations_are_those_of_the_tap() -> None:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")

    assert f"| {CLOSED} | stdout was closed" in text
    for number in SIGNALS:
        assert f"{128 + number} {number.name}" in text


def anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page make."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
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
    assert set(hub["settings_group_validation"][0]) == set(CONFIG_JSONSCHEMA["required"])


def test_the_changelog_tells_of_this_version_or_of_one_to_come() -> None:
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.*)"$', project, re.MULTILINE)

    assert found
    assert "## Unreleased\n" in text or f"## {found[1]} " in text
