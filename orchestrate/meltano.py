"""`meltano run` as a process that ends with its parent. Does not depend on Dagster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from orchestrate.shards import Run

PROJECT = Path(__file__).resolve().parent.parent
MELTANO = PROJECT / ".venv-meltano" / "bin" / "meltano"

TAP = "bin/tap-barchart-events"
"""What the command line of the tap holds."""

MODELS = tuple(sorted(model.stem for model in (PROJECT / "transform" / "models").glob("**/*.sql")))
"""The models of dbt, in no order."""

ENVIRONMENT = "prod"
"""The environment of Meltano if `MELTANO_ENVIRONMENT` names none, as `meltano.yml` has it."""

SUMMARY = "sync_summary"
"""The tap's metric at the end of a sync: its number of events."""

DRAIN_SECONDS = 120
"""How long the target may load what it has received before the whole run is ended, in seconds.
Meltano's buffer of 100 MiB takes a target that loads 5,000 rows a second 40 s."""


class MeltanoError(Exception):
    """The run failed; the message holds the end of its log."""

    def __init__(self, code: int, log: str) -> None:
        """Take the exit code of Meltano, and the end of its log."""
        super().__init__(f"meltano run ended with {code}:\n{log}")
        self.code = code


def project(environ: Mapping[str, str]) -> Path:
    """Return the folder of the Meltano project."""
    return Path(environ.get("MELTANO_PROJECT_ROOT", PROJECT))


def run(bounded: Run, *, loader: str, environ: Mapping[str, str], reread: bool = False) -> int:
    """Run the tap into a target and wait for the end; the log goes to stderr line by line.

    Args:
        bounded: What is run.
        loader: The target.
        environ: The environment, to which the run's settings are added.
        reread: Whether to begin at ``start_date`` in spite of a bookmark.

    Returns:
        How many events were extracted.

    Raises:
        MeltanoError: The run ended with another code than 0.
    """
    arguments = ["tap-barchart-events", loader]
    if bounded.state_id_suffix:
        arguments += ["--state-id-suffix", bounded.state_id_suffix]
    if reread:
        arguments.append("--full-refresh")
    elif bounded.product:
        _pass_on_learnt(bounded, loader, environ)
    return _run(arguments, {**environ, **bounded.settings})


def build(utility: str, *, environ: Mapping[str, str]) -> None:
    """Build and test the models of dbt, and wait for the end.

    Args:
        utility: dbt for the loader's database, as `meltano.yml` names it.
        environ: The environment.

    Raises:
        MeltanoError: A model or a test failed.
    """
    _run([f"{utility}:build"], environ)


def _pass_on_learnt(shard: Run, loader: str, environ: Mapping[str, str]) -> None:
    """Begin a shard that has no STATE with what another run has learnt for sizing windows.

    If that fails, the shard learns by itself: it takes longer and extracts the same events.
    """
    nightly = f"{environ.get('MELTANO_ENVIRONMENT', ENVIRONMENT)}:tap-barchart-events-to-{loader}"
    own = f"{nightly}:{shard.state_id_suffix}"
    try:
        states = json.loads(_state(environ, "export"))
        partition = learnt_elsewhere(states, own, nightly, shard.product or "")
        if partition:
            state = {"singer_state": {"bookmarks": {"events": {"partitions": [partition]}}}}
            _state(environ, "set", "--force", own, json.dumps(state))
    except (subprocess.SubprocessError, ValueError) as error:
        sys.stderr.write(f"{own} begins without what other runs have learnt: {error}\n")


def learnt_elsewhere(
    states: Mapping[str, Any], own: str, nightly: str, product: str
) -> dict[str, Any] | None:
    """Return what a shard's STATE begins with: a partition without a bookmark.

    None if the shard has STATE, or no run has learnt anything. Otherwise it comes from
    the latest earlier month of the product, else from the nightly run, else from the earliest
    later month.

    Args:
        states: STATE id → what `meltano state export` has of it; damaged ones are skipped.
        own: STATE id of the shard.
        nightly: STATE id of the nightly run; those of shards add a suffix to it.
        product: The product of the shard.
    """
    found: dict[str, dict[str, Any]] = {}
    for state_id, state in states.items():
        with suppress(LookupError, TypeError):
            events = state["completed"]["singer_state"]["bookmarks"]["events"]
            for partition in events["partitions"]:
                context, learnt = partition["context"], partition["learnt"]
                if state_id.startswith(nightly) and context["product"] == product and learnt:
                    found[state_id] = {"context": context, "learnt": learnt}
    if own in states or not found:
        return None
    return found[max((state_id for state_id in found if state_id < own), default=min(found))]


def _state(environ: Mapping[str, str], *arguments: str) -> str:
    """Run `meltano state`; return what it prints."""
    return subprocess.run(  # noqa: S603 - the command is made here
        [str(MELTANO), "--log-level=error", "state", *arguments],
        cwd=project(environ),
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout


def _run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run `meltano run`; return how many events the tap extracted."""
    command = [str(MELTANO), "--log-format=json", "run", *arguments]
    last: deque[str] = deque(maxlen=20)
    events = 0
    with (
        _own_folder(project(environ) / ".meltano") as folder,
        subprocess.Popen(  # noqa: S603 - the command is made above
            command,
            cwd=project(environ),
            env={**environ, "MELTANO_SYS_DIR_ROOT": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            # In a group of its own, so that it can be ended with all its children.
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - it is a pipe, see above
        try:
            for line in process.stdout:
                text, count = _entry(line)
                if text:
                    sys.stderr.write(text)
                    last.append(text)
                events += count
        except BaseException:
            if process.poll() is None:
                _end(process)
            raise
    if process.returncode:
        raise MeltanoError(process.returncode, "".join(last))
    return events


def _end(process: subprocess.Popen[str]) -> None:
    """End a run: the tap first, so that the target loads what it has and passes STATE on."""
    try:
        if _end_tap(process.pid):
            process.communicate(timeout=DRAIN_SECONDS)
        else:
            sys.stderr.write("no tap is running: the run ends at once\n")
    except subprocess.TimeoutExpired:
        sys.stderr.write(
            f"the target did not end within {DRAIN_SECONDS} s, so the run is ended: the next one"
            " loads what came after the last STATE again\n"
        )
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def _end_tap(meltano: int) -> bool:
    """Send SIGTERM to the tap below a process of Meltano; return whether there was one."""
    ended = False
    for child in psutil.Process(meltano).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if TAP in " ".join(child.cmdline()):
                child.terminate()
                ended = True
    return ended


def _entry(line: str) -> tuple[str, int]:
    """Read a line of Meltano's log; return its text (none for a metric) and its events."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line, 0
    match entry:
        case {"metric_info": {"metric": metric, "value": value}}:
            return "", int(value) if metric == SUMMARY else 0
        case {"event": event, "level": level}:
            return f"{entry.get('timestamp', '')} [{level}] {event}\n", 0
    return line, 0


@contextmanager
def _own_folder(shared: Path) -> Iterator[Path]:
    """Make a `.meltano` for one run: the shared plugins and STATE, and a `run` of its own.

    All runs of a tap keep the catalog in the same file of `run`. Without a folder of its own, a
    run could read the catalog of another product.
    """
    (shared / "meltano.db").touch()
    with tempfile.TemporaryDirectory(prefix="orchestrate-") as folder:
        for entry in shared.iterdir():
            if entry.name != "run":
                (Path(folder) / entry.name).symlink_to(entry.resolve())
        yield Path(folder)
