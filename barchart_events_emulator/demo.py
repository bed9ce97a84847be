"""The command ``barchart-events-demo``: a sync, a crash, its resumption and a second sync.

The tap runs in a process of its own, on an emulator in this one. What is loaded in the end is
compared with the emulator's events by the documented recipe of ``event_id``.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import md5
from pathlib import Path
from signal import SIGINT, SIGTERM
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from barchart_events_emulator.emulator import Emulator
from barchart_events_emulator.generator import Event
from barchart_events_emulator.loopback import HOST
from tap_barchart_events.products import IDENTITY_COLUMNS, snake_case
from tap_barchart_events.windows import HOUR, from_iso, to_iso

CUSTOMER = "TGAM"
PRODUCTS = ("ALERT", "CMDTYVIEW", "PORTFOLIO", "WATCHLIST")
START = from_iso("2026-02-16T00:00:00Z")
FIRST_END = from_iso("2026-03-05T15:00:00Z")
LATER_HOURS = 6
LAG = HOUR // 4
"""A sync ends so long before the emulator's time: the default of ``lag_minutes``."""

KILLED_IN = "PORTFOLIO"
KILLED_AFTER = 500
"""RECORD messages of that product after a STATE message, when the tap is killed."""

EMULATOR: dict[str, Any] = {
    "population": "users",
    "events_per_hour": 24,
    "job_seconds": 0.3,
    "clock": lambda: FIRST_END + LAG,
    # The tap would warn of the simulated clock, which is in another month than the machine's.
    "date_header": False,
}

_BAR = 30
_SAMPLE = {"timestamp": 19, "type": 34, "user_id": 12, "symbol": 9, "event_id": 32}
"""The columns of the sample events, and their widths."""

_NEXT = """
The files are in {folder}. A query to try:

  {programs}/python -c "import duckdb; print(duckdb.sql('''
    SELECT type, count(DISTINCT event_id) AS events FROM '{events}'
    GROUP BY type ORDER BY events DESC LIMIT 5'''))"

Next:

  {programs}/barchart-events-emulator --port 8700 --env-file .env  # the emulated service
  {programs}/tap-barchart-events --config=ENV --test  # in a second terminal
  make demo-meltano  # with Meltano and dbt; a report of the events
"""


class DemoError(Exception):
    """The demo cannot continue; the message says why."""


class Comparison(NamedTuple):
    """The loaded rows of a product beside the emulator's events, by ``event_id``."""

    product: str
    loaded: int
    """Different events."""
    expected: int
    lost: int
    again: int
    """Rows whose ``event_id`` came before."""
    unknown: int
    """Events that the emulator does not have: any that came twice under two ids."""


class Demo:
    """The steps of the demo."""

    def __init__(self, service: Emulator, folder: Path, target: Path | None, scratch: Path) -> None:
        """Prepare; files of an earlier demo are removed.

        Args:
            service: The emulator, running.
            folder: Where events, STATE and log go.
            target: The program target-jsonl; without it, the demo writes the events itself.
            scratch: A folder for what nobody needs afterwards.
        """
        self.service, self.target, self.scratch = service, target, scratch
        self.events, self.state = folder / "events.jsonl", folder / "state.json"
        self.log = folder / "log.txt"
        folder.mkdir(parents=True, exist_ok=True)
        for path in (self.events, self.state, self.log):
            path.unlink(missing_ok=True)
        self.began = time.monotonic()

    def run(self) -> bool:
        """Run all steps; return whether the loaded events are those of the emulator."""
        self.step(f"The service, emulated on this machine: {self.service.api_url}")
        print(f"  its simulated clock says {to_iso(self.service.clock())[:16]} UTC")
        self.step(f"First sync of {len(PRODUCTS)} products, from {to_iso(START)[:10]} on")
        if not self.sync(FIRST_END, kill=True):
            raise DemoError("the tap ended before it could be killed")
        print(f"  The tap was killed (SIGKILL) when {KILLED_AFTER} events had followed a bookmark.")
        self.step("Three of the events that have arrived")
        self.show_sample()
        self.step("Resume from the last STATE message that the tap wrote")
        self.sync(FIRST_END)
        resumed = self.compare(FIRST_END)
        lost, again = sum(row.lost for row in resumed), sum(row.again for row in resumed)
        twice = sum(row.unknown for row in resumed)
        print(f"  {lost:,} lost; {again:,} rows came twice with the same event_id (at least once);")
        print(f"  {twice:,} twice after merging by key")
        self.step(f"{LATER_HOURS} hours pass at the service; a second sync for what came since")
        self.service.advance(hours=LATER_HOURS)
        end = FIRST_END + LATER_HOURS * HOUR
        self.sync(end)
        self.step("Compare the events in the file with those of the service, by event_id")
        final = self.compare(end)
        matches = self.show(final, end) and lost == twice == 0
        programs = shlex.quote(os.path.relpath(Path(sys.executable).parent))
        print(_NEXT.format(folder=self.events.parent, events=self.events, programs=programs))
        return matches

    def step(self, name: str) -> None:
        """Print what comes now, with the seconds since the beginning."""
        print(f"\n{time.monotonic() - self.began:5.1f} s  {name}", flush=True)

    def sync(self, end: int, *, kill: bool = False) -> bool:
        """Run the tap into the target; return whether the tap was killed, as asked for.

        Args:
            end: Where the sync ends.
            kill: Whether to kill the tap, see ``KILLED_AFTER``.
        """
        progress, since_state, killed = Progress(end), 0, False
        with self.log.open("ab") as log, self.tap(end, log) as tap, self.loader(log) as load:
            for line in tap.stdout:
                if not line.endswith(b"\n"):
                    break  # the kill has torn it
                message = json.loads(line)
                load(line, message)
                if message["type"] == "STATE":
                    self.state.write_text(json.dumps(message["value"]), encoding="utf-8")
                    progress.bookmarks = bookmarks(message["value"])
                    since_state = 0
                elif message["type"] == "RECORD":
                    product = message["record"]["product"]
                    progress.count(product)
                    since_state += 1
                    if kill and product == KILLED_IN and since_state == KILLED_AFTER:
                        killed = True
                        tap.kill()
            progress.end()
            code = tap.wait()
        if code and not killed:
            last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
            raise DemoError("\n".join([*last, f"the tap ended with exit code {code}: {self.log}"]))
        return killed

    def tap(self, end: int, log: Any) -> AbstractContextManager[Any]:
        """Run the tap up to an instant, as a context."""
        config = {
            "api_url": self.service.api_url,
            "username": self.service.username,
            "password": self.service.password,
            "customer": CUSTOMER,
            "products": PRODUCTS,
            "start_date": to_iso(START),
            "end_date": to_iso(end),
            "lookback_hours": 0,  # target-jsonl appends
            "poll_interval_seconds": 0.1,
        }
        command = [sys.executable, "-m", "tap_barchart_events", self.config("tap", config)]
        if self.state.exists():
            command.append(f"--state={self.state.resolve()}")
        # A killed tap leaves its temporary files behind.
        env = {**os.environ, "TMPDIR": str(self.scratch), "NO_PROXY": HOST, "no_proxy": HOST}
        return running(command, stdout=subprocess.PIPE, stderr=log, env=env, cwd=self.scratch)

    @contextmanager
    def loader(self, log: Any) -> Iterator[Any]:
        """Yield a function that takes each line of the tap and its message."""
        if self.target is None:
            with self.events.open("a", encoding="utf-8") as file:

                def write(_: bytes, message: dict[str, Any]) -> None:
                    if message["type"] == "RECORD":
                        file.write(json.dumps(message["record"]) + "\n")

                yield write
            return
        folder = str(self.events.parent.resolve())
        config = {"destination_path": folder, "do_timestamp_file": False}
        command = [str(self.target), self.config("target", config)]
        with running(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as target:
            yield lambda line, _: target.stdin.write(line)
            target.stdin.close()
            if code := target.wait():
                raise DemoError(f"the target ended with exit code {code}: {self.log}")

    def config(self, name: str, content: Any) -> str:
        """Write a configuration; return the option that names it."""
        path = self.scratch / f"{name}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return f"--config={path}"

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the loaded rows."""
        with self.events.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)

    def show_sample(self) -> None:
        """Print an event of each of three products."""
        found = {r["product"]: r for r in self.records() if all(r.get(n) for n in _SAMPLE)}
        print("  " + " ".join(f"{name:<{width}}" for name, width in _SAMPLE.items()).rstrip())
        for record in [*found.values()][:3]:
            cells = (f"{record[name][:width]:<{width}}" for name, width in _SAMPLE.items())
            print("  " + " ".join(cells).rstrip())

    def compare(self, end: int) -> list[Comparison]:
        """Compare what is loaded with the emulator's events up to an instant."""
        loaded: dict[str, Counter[str]] = {product: Counter() for product in PRODUCTS}
        for record in self.records():
            loaded[record["product"]][record["event_id"]] += 1
        found = []
        for product, rows in loaded.items():
            events = self.service.events(CUSTOMER, product, START, end)
            expected = set(event_ids(product, events))
            lost, unknown = len(expected - rows.keys()), len(rows.keys() - expected)
            counts = len(rows), len(expected), lost, rows.total() - len(rows), unknown
            found.append(Comparison(product, *counts))
        return found

    def show(self, rows: Sequence[Comparison], end: int) -> bool:
        """Print the comparison; return whether nothing differs and all bookmarks are the end."""
        reached = bookmarks(json.loads(self.state.read_text(encoding="utf-8")))
        print(f"  {'product':<11}{'loaded':>9}{'expected':>10}{'lost':>6}  bookmark")
        for row in rows:
            print(
                f"  {row.product:<11}{row.loaded:>9,}{row.expected:>10,}{row.lost:>6,}  "
                f"{to_iso(reached[row.product])[:16]}"
            )
        complete = all(row.lost == row.unknown == 0 for row in rows)
        return complete and set(reached.values()) == {end}


class Progress:
    """A line for each product that a sync writes; at a terminal, with a bar that grows."""

    def __init__(self, end: int) -> None:
        """Begin a sync up to an instant."""
        self.until = end
        self.product = ""
        self.events = 0
        self.bookmarks: dict[str, int] = {}

    def count(self, product: str) -> None:
        """Count an event."""
        if product != self.product:
            self.end()
            self.product, self.events = product, 0
        self.events += 1
        if sys.stdout.isatty() and self.events % 100 == 0:
            self.show("")

    def end(self) -> None:
        """End the line of a product."""
        if self.product:
            self.show("\n")

    def show(self, end: str) -> None:
        """Print the line of the current product."""
        share = (self.bookmarks.get(self.product, START) - START) / (self.until - START)
        line = f"  {self.product:<11}{self.events:>9,} events  {share:>4.0%}"
        if sys.stdout.isatty():
            line = f"\r{line} {'#' * round(_BAR * share):-<{_BAR}}"
        print(line, end=end, flush=True)


def event_ids(product: str, events: Iterable[Event]) -> Iterator[str]:
    """Yield the ids of a product's events in time order, by the recipe of docs/event_id.md."""
    equal: Counter[str] = Counter()
    for event in events:
        values = {snake_case(name): value for name, value in event.values.items()}
        lines = [CUSTOMER, product, str(event.timestamp), event.type]
        lines += [f"{n}={values[n]}" for n in sorted(values) if n in IDENTITY_COLUMNS[product]]
        text = "\n".join(line.replace("\n", "\n\n") for line in lines)
        yield md5(f"{text}\n{equal[text]}".encode(), usedforsecurity=False).hexdigest()
        equal[text] += 1


def bookmarks(state: dict[str, Any]) -> dict[str, int]:
    """Return the bookmarks of a STATE by product."""
    partitions = state["bookmarks"]["events"]["partitions"]
    return {
        p["context"]["product"]: from_iso(p["replication_key_value"])
        for p in partitions
        if "replication_key_value" in p
    }


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[Any]:
    """Run a command; it is killed if the block is left before it has ended."""
    # A signal that comes while the process starts has to wait, or the process would be left.
    came: list[int] = []
    held = {n: signal.signal(n, lambda n, _: came.append(n)) for n in (SIGINT, SIGTERM)}
    process = subprocess.Popen(command, **{"stdin": subprocess.DEVNULL, **options})
    try:
        for number, handler in held.items():
            signal.signal(number, handler)
        for waiting in came:
            signal.raise_signal(waiting)
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            with suppress(OSError):
                pipe.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if the loaded events are those of the emulator."""
    parser = argparse.ArgumentParser(prog="barchart-events-demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("output/demo"), help="(%(default)s)")
    parser.add_argument("--target", type=Path, metavar="PATH", help="target-jsonl to load with")
    options = parser.parse_args(arguments)

    def demo() -> bool:
        with Emulator(**EMULATOR) as service, TemporaryDirectory() as scratch:
            return Demo(service, options.folder, options.target, Path(scratch)).run()

    return run(demo)


def run(demo: Callable[[], bool]) -> int:
    """Run a demo and return the exit code: 0 if the loaded events are those of the emulator.

    Args:
        demo: Runs, and returns whether they are.
    """
    signal.signal(SIGTERM, lambda number, _frame: sys.exit(128 + number))
    signal.signal(SIGINT, signal.default_int_handler)
    began = time.monotonic()
    try:
        matches = demo()
    except KeyboardInterrupt:
        print("\ninterrupted")
        return 128 + SIGINT
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    print(verdict(matches=matches), f"{time.monotonic() - began:.1f} s, without the installation")
    return 0 if matches else 1


def verdict(*, matches: bool) -> str:
    """Return what a demo says in the end about the loaded events."""
    return "All events of the service were loaded, once." if matches else "THE EVENTS DIFFER."


if __name__ == "__main__":
    sys.exit(main())
