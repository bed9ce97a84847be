"""The project's own files agree with each other, and the commands that they name work."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT
from tap_barchart_events.windows import from_iso
from tests.project.commands import ran
from tests.settings_pages import README, about, between, pages
from tests.tap_runs import Tap, settings_of

LOCKS = sorted((PROJECT / "requirements").glob("*.txt"))


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    return about()


@pytest.mark.parametrize(
    "name", ["settings.md", "meltano.yml", "tap-barchart-events.yml", ".env.example"]
)
def test_settings_are_written_as_about_says_them(said: dict[str, Any], name: str) -> None:
    ((path, comment, expected),) = [page for page in pages(said) if page[0].name == name]

    assert between(path.read_text(encoding="utf-8"), comment)[0] == expected, "run make settings"


def test_meltano_yml_is_what_meltano_needs_and_never_asks_the_hub(said: dict[str, Any]) -> None:
    project = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))
    (tap,) = project["plugins"]["extractors"]
    plugins = [tap, *project["plugins"]["loaders"], *project["plugins"]["utilities"]]

    assert [setting["name"] for setting in tap["settings"]] == [*said["settings"]["properties"]]
    assert sorted(tap["capabilities"]) == sorted(said["capabilities"])
    own = [plugin for plugin in plugins if "inherit_from" not in plugin]
    assert all(plugin["namespace"] and plugin["pip_url"] for plugin in own)
    inherited = {plugin["inherit_from"] for plugin in plugins if "inherit_from" in plugin}
    assert inherited <= {plugin["name"] for plugin in own}
    assert project["send_anonymous_usage_stats"] is False
    named = {name for block in project["jobs"][0]["tasks"] for name in block.split()}
    assert {name.partition(":")[0] for name in named} <= {plugin["name"] for plugin in plugins}
    assert {schedule["job"] for schedule in project["schedules"]} == {project["jobs"][0]["name"]}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_everything_by_hash_and_names_no_index(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    requirements = re.findall(r"^[a-z0-9][^\n]*\\\n(?:    --hash=[^\n]*\n)+", text, re.MULTILINE)

    assert requirements
    assert len(requirements) == len(re.findall(r"^[a-zA-Z0-9]", text, re.MULTILINE))
    assert all(re.match(r"[a-z0-9.\[\]_-]+==[^ ]+ ", requirement) for requirement in requirements)
    assert "://" not in text
    assert "index" not in re.sub(r"#.*", "", text)


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="git tells which files there are")
def test_the_packed_source_holds_every_file_of_the_project(tmp_path: Path) -> None:
    built = ran(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path))
    assert built.returncode == 0, built.stdout + built.stderr
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}

    files = set(ran("git", "ls-files").stdout.splitlines())
    assert files
    assert files - packed == set()


@pytest.mark.parametrize("package", ["tap_barchart_events", "barchart_events_emulator"])
def test_the_architecture_page_names_every_module(package: str) -> None:
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.split(r"\n(?=[a-z])", page.partition(f"\n{package}/")[2], maxsplit=1)[0]
    folder = PROJECT / package

    assert set(re.findall(r"^  ([a-z_/]+\.py) ", listed, re.MULTILINE)) == {
        module.relative_to(folder).as_posix()
        for module in folder.rglob("*.py")
        if not module.name.startswith("__")
    }


def test_each_place_that_the_architecture_page_names_exists() -> None:
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Where each decision")[2].partition("## Dependencies")[0]
    places = re.findall(r"(`[\w.]+`(?: and `[\w.]+`)?)\s+in\s+`([\w/]+\.py)`", table)

    assert len(places) > 10
    for names, module in places:
        source = (PROJECT / "tap_barchart_events" / module).read_text(encoding="utf-8")
        for name in re.findall(r"\w+", names.replace(" and ", " ")):
            assert re.search(rf"^ *(def|class) {name}\b|^{name} = ", source, re.MULTILINE), name


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project as a user has it after `make install`."""
    folder = tmp_path / "tap barchart events"
    everywhere = shutil.ignore_patterns(".*", "__pycache__")

    def ignored(where: str, names: list[str]) -> set[str]:
        here = {"output", "tests", "benchmarks"} if where == str(PROJECT) else set()
        return everywhere(where, names) | here

    shutil.copytree(PROJECT, folder, ignore=ignored)
    shutil.copy(PROJECT / ".env.example", folder)
    (folder / ".venv-meltano").symlink_to(PROJECT / ".venv-meltano")
    (folder / ".meltano").mkdir()
    for plugins in ("extractors", "loaders"):
        (folder / ".meltano" / plugins).symlink_to(PROJECT / ".meltano" / plugins)
    return folder


def test_the_commands_of_a_first_run_with_meltano_work_as_they_stand(copy: Path) -> None:
    readme = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    blocks = [block for block in blocks if ".venv-meltano" in block]
    with Emulator(events_per_hour=20) as service:
        filled_in = {
            "USERNAME": service.username,
            "PASSWORD": service.password,
            "START_DATE": "2026-03-02T00:00:00Z",
            "END_DATE": "2026-03-02T12:00:00Z",
            "API_URL": service.api_url,
            "POLL_INTERVAL_SECONDS": "0.05",
        }
        assert "`cp .env.example .env`" in readme
        shutil.copy(copy / ".env.example", copy / ".env")
        text = (copy / ".env").read_text(encoding="utf-8")
        for name, value in filled_in.items():
            line = rf"^(?:# )?TAP_BARCHART_EVENTS_{name}=.*$"
            new = f"TAP_BARCHART_EVENTS_{name}='{value}'"
            text, count = re.subn(line, new, text, flags=re.MULTILINE)
            assert count == 1, name
        (copy / ".env").write_text(text, encoding="utf-8")
        # One shell for all that follows the credentials, as a user has one.
        lines = "".join(blocks).splitlines()
        commands = "\n".join(line for line in lines if not line.startswith("make "))
        done = ran("bash", "-euo", "pipefail", "-c", commands, folder=copy)
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        span = from_iso(filled_in["START_DATE"]), from_iso(filled_in["END_DATE"])
        expected = sum(service.count("TGAM", p, *span) for p in ("PORTFOLIO", "WATCHLIST"))

    loaded = (copy / "output" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(loaded) == expected > 100


def fill_in(file: Path, values: Mapping[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for name, value in values.items():
        text, count = re.subn(
            rf"^(?:# )?TAP_BARCHART_EVENTS_{name}=.*$",
            f"TAP_BARCHART_EVENTS_{name}='{value}'",
            text,
            flags=re.MULTILINE,
        )
        assert count == 1, name
    file.write_text(text, encoding="utf-8")


def test_the_recipe_of_the_docs_computes_every_event_id(tmp_path: Path) -> None:
    (recipe,) = re.findall(
        r"^```python\n(.*?)^```",
        (PROJECT / "docs" / "event_id.md").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    page: dict[str, Any] = {}
    exec(recipe, page)  # noqa: S102 - it is what a reader runs
    with Emulator(events_per_hour=100, header=True, added_column="abTest") as service:
        settings = settings_of(
            service,
            products=["PORTFOLIO", "WATCHLIST"],
            start_date="2026-03-02T12:00:00Z",
            end_date="2026-03-02T18:00:00Z",
        )
        records = Tap(tmp_path, settings).end().records

    equal = Counter(page["event_id"](record) for record in records)
    assert any(record["extra"] for record in records)
    assert max(equal.values()) > 1, "no event was repeated, so no ordinal was tried"
    expected = {
        page["event_id"](record, ordinal)
        for record in records
        for ordinal in range(equal[page["event_id"](record)])
    }
    assert {record["event_id"] for record in records} == expected
    assert len(expected) == len(records)
