"""``python -m benchmarks``: one command, one table."""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report
from benchmarks.backfills import Backfills, Cost
from benchmarks.trials import QUOTED, RECORD, TASKS, Result, Timing, Trials

OUTPUT = Path(__file__).parent.parent / "output"
MILLION = 1_000_000
WHAT = ("record", "quoted", "large", "map", "batch", "memory", "waiting", "windows")


def main() -> int:
    """Run the chosen measurements; print the tables and write them to a file."""
    options = _options()
    compared: list[Result] = []
    weighed: list[Result] = []
    waited: list[Timing] = []
    spent: list[Cost] = []
    with TemporaryDirectory(prefix="benchmarks-") as folder:
        where = Path(folder), lambda what: print(what, file=sys.stderr, flush=True)
        trials = Trials(*where)
        for task in TASKS:
            if _kind(task) in options.only:
                compared += trials.compare(task, options.events, options.rounds)
        if "large" in options.only:
            for task in TASKS:
                if _kind(task) in {"record", "batch"}:
                    compared += trials.compare(task, options.large, 1)
        if "memory" in options.only:
            sizes = [MILLION, 10 * MILLION] if options.ten_million else [MILLION]
            # Both kinds of stream map go the same way.
            tasks = [task for task in TASKS if "renamed" not in task]
            weighed += [trials.memory(task, n) for task in tasks for n in sizes]
        if "waiting" in options.only:
            waited = [
                trials.backfill(options.rounds),
                trials.nightly(options.rounds),
                trials.start_up(3 * options.rounds),
            ]
        if "windows" in options.only:
            spent = Backfills(*where).costs()
    parts = (
        report.machine() + "\n",
        report.throughput(compared),
        report.memory(weighed),
        report.timings(waited),
        report.costs(spent),
        report.load(run for result in compared + weighed for run in result.runs),
    )
    text = "\n".join(filter(None, parts)).rstrip() + "\n"
    print(text)
    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / "benchmarks.md").write_text(text)
    return 0


def _kind(task: str) -> str:
    if task in QUOTED:
        return "quoted"
    return "record" if task == RECORD else "map" if "map" in task else "batch"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=main.__doc__, allow_abbrev=False
    )
    parser.add_argument("--events", type=int, default=MILLION, help="in an export (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each (%(default)s)")
    parser.add_argument(
        "--large",
        type=int,
        default=5 * MILLION,
        help="events of the large export, without maps (%(default)s)",
    )
    parser.add_argument(
        "--only", nargs="+", choices=WHAT, default=WHAT, help="what is measured (everything)"
    )
    parser.add_argument(
        "--ten-million", action="store_true", help="peak memory with 10,000,000 events too"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
