"""The project's own files agree with each other, and the commands that they name work."""

import re
import shutil
import sys
import tarfile
from email import message_from_bytes
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT
from hatch_build import PagesOfPyPI
from tap_barchart_events import __version__
from tap_barchart_events.windows import from_iso
from tests.project.commands import in_bash, output_of
from tests.settings_pages import README

LOCKS = sorted((PROJECT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_everything_by_hash_and_names_no_index(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    pinned = re.findall(r"(?m)^[a-z0-9.\[\]_-]+==[^\n]*\\\n(?:    --hash=[^\n]*\n)+", text)

    assert 0 < len(pinned) == len(re.findall(r"(?m)^[a-zA-Z0-9]", text))
    assert "://" not in text
    assert "index" not in re.sub(r"#.*", "", text)


# Whatever documented commands have left in the folder: only these files are the project.
with_git = pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="git tells which there are")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive and the wheel, built for a repository."""
    folder = tmp_path_factory.mktemp("dist")
    command = (sys.executable, "-m", "hatchling", "build", "--directory", folder)
    output_of(*command, environ={"REPOSITORY_URL": "https://git.example/us/tap"})
    return folder


@with_git
def test_the_packed_source_holds_every_file_of_the_project(archives: Path) -> None:
    (sdist,) = archives.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}

    files = set(output_of("git", "ls-files").splitlines())
    assert files
    assert files - packed == set()


def test_the_archives_are_what_pypi_accepts_and_their_links_work_there(archives: Path) -> None:
    output_of(sys.executable, "-m", "twine", "check", "--strict", *archives.iterdir())
    (wheel,) = archives.glob("*.whl")
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(name))

    assert metadata["Version"] == __version__
    urls = [line.partition(", ")[2] for line in metadata.get_all("Project-URL", [])]
    readme = str(metadata.get_payload())
    links = [*urls, *re.findall(r"\]\(([^)]*)\)", readme)]
    assert [link for link in links if not link.startswith("https://")] == []
    project = f"https://git.example/us/tap/{{}}/v{__version__}/docs/{{}}"
    assert {project.format("raw", "report.png"), project.format("blob", "dbt.md")} < {*links}
    for path in re.findall(rf"us/tap/(?:blob|raw|tree)/v{__version__}/([^# ]+)", " ".join(links)):
        assert (PROJECT / path).exists(), path


def test_without_an_address_of_the_repository_pypi_gets_no_link_to_its_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REPOSITORY_URL", raising=False)
    metadata: dict[str, Any] = {"version": "1"}
    PagesOfPyPI(str(PROJECT), {}).update(metadata)

    readme = metadata["readme"]["text"]
    assert "Benchmarks" in readme
    assert "](https://www.singer.io)" in readme
    assert re.findall(r"\]\((?!https://)[^)]*\)", readme) == []
    assert metadata["urls"] == {}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project as a user has it after `make install`."""
    folder = tmp_path / "tap barchart events"
    for name in output_of("git", "ls-files").splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    (folder / ".venv-meltano").symlink_to(PROJECT / ".venv-meltano")
    (folder / ".meltano").mkdir()
    for plugins in ("extractors", "loaders"):
        (folder / ".meltano" / plugins).symlink_to(PROJECT / ".meltano" / plugins)
    return folder


@with_git
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
        text = (copy / ".env.example").read_text(encoding="utf-8")
        for name, value in filled_in.items():
            line = rf"(?m)^(?:# )?TAP_BARCHART_EVENTS_{name}=.*$"
            text, count = re.subn(line, f"TAP_BARCHART_EVENTS_{name}='{value}'", text)
            assert count == 1, name
        (copy / ".env").write_text(text, encoding="utf-8")
        # One shell for all that follows the credentials, as a user has one.
        lines = "".join(blocks).splitlines()
        commands = "\n".join(line for line in lines if not line.startswith("make "))
        in_bash(commands, folder=copy)
        span = from_iso(filled_in["START_DATE"]), from_iso(filled_in["END_DATE"])
        expected = sum(service.count("TGAM", p, *span) for p in ("PORTFOLIO", "WATCHLIST"))

    loaded = (copy / "output" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(loaded) == expected > 100
