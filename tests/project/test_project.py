"""The project's own files agree with each other, and the commands that they name work."""

import re
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from barchart_events_emulator import Emulator
from demo.pipeline import PROJECT
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


@with_git
def test_the_packed_source_holds_every_file_of_the_project(tmp_path: Path) -> None:
    output_of(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}

    files = set(output_of("git", "ls-files").splitlines())
    assert files
    assert files - packed == set()


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
