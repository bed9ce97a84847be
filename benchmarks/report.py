"""The results as Markdown. Does not depend on the measuring."""

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.backfills import Cost
from benchmarks.contenders import STOCK
from benchmarks.processes import Run
from benchmarks.trials import Result, Timing

PACKAGES = ("singer-sdk", "duckdb", "msgspec", "pyarrow")


def machine() -> str:
    """Describe the machine and what runs on it."""
    model = platform.processor() or platform.machine()
    memory = ""
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        model = next((x.partition(": ")[2] for x in lines if x.startswith("model name")), model)
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f", {pages / (1 << 30):.0f} GiB of memory"
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{model}, {os.cpu_count()} cores{memory}; {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}, {versions}."
    )


def throughput(results: Sequence[Result]) -> str:
    """Return the table of the readers by task, each beside the stock tap."""
    stock = {(one.task, one.events): one for one in results if one.contender == STOCK}
    return _table(
        "task | reader | events | CPU s per million | wall s | peak MB "
        "| times as fast as the stock tap, by CPU | by wall",
        (
            (
                one.task,
                one.contender,
                f"{one.events:,}",
                f"{one.middle(lambda run: run.cpu) / one.events * 1e6:.2f}",
                f"{one.middle(lambda run: run.wall):.1f}",
                _peak(one),
                *(_ratios(one, stock[one.task, one.events], what) for what in ("cpu", "wall")),
            )
            for one in results
        ),
    )


def _ratios(result: Result, stock: Result, value: str) -> str:
    """Return the median of the rounds' ratios and, of several, the least and the greatest."""
    ratios = [
        getattr(theirs, value) / getattr(ours, value)
        for ours, theirs in zip(result.runs, stock.runs, strict=True)
    ]
    spread = f" ({min(ratios):.1f} to {max(ratios):.1f})" if len(ratios) > 1 else ""
    return f"{median(ratios):.1f}{spread}"


def _peak(result: Result) -> str:
    return f"{max(run.peak for run in result.runs) / 1e6:.0f}"


def memory(results: Iterable[Result]) -> str:
    """Return the table of peak memory by size of the export."""
    return _table(
        "task | events in one export | peak MB | wall s",
        (
            (one.task, f"{one.events:,}", _peak(one), f"{one.middle(lambda run: run.wall):.1f}")
            for one in results
        ),
    )


def timings(results: Iterable[Timing]) -> str:
    """Return the table of waiting times."""
    return _table(
        "what | seconds | of several runs | ideal",
        (
            (
                one.task,
                f"{median(one.seconds):.2f}",
                f"{min(one.seconds):.2f} to {max(one.seconds):.2f}",
                one.ideal,
            )
            for one in results
        ),
    )


def costs(results: Iterable[Cost]) -> str:
    """Return the table of syncs of many windows, each beside the least number of exports."""
    return _table(
        "sync | events | exports that would do | jobs | of them too large "
        "| job time, times the ideal | wall s | wall, times the ideal | has to be",
        (
            (
                one.case,
                f"{one.events:,}",
                one.ideal,
                one.jobs,
                one.too_large,
                f"{one.job_time_ratio:.2f}",
                f"{one.wall:.0f}",
                f"{one.wall_ratio:.2f}",
                one.has_to_be,
            )
            for one in results
        ),
    )


def load(runs: Iterable[Run]) -> str:
    """Return a sentence on the load of the machine."""
    loads = [run.load for run in runs]
    return (
        f"Load of the machine before the runs: {median(loads):.1f} in the median, "
        f"{max(loads):.1f} at most."
        if loads
        else ""
    )


def _table(heads: str, rows: Iterable[Sequence[object]]) -> str:
    """Return a table, or nothing if it has no rows."""
    lines = [" | ".join(map(str, row)) for row in rows]
    marks = " | ".join(["---", *["--:"] * heads.count("|")])
    return "".join(f"| {line} |\n" for line in [heads, marks, *lines]) if lines else ""
