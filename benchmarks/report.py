"""The results as Markdown. Does not depend on the measuring."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.contenders import STOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.backfills import Cost
    from benchmarks.processes import Run
    from benchmarks.trials import Result, Timing

HEAD_LINES = 2
"""Lines of a table without rows."""

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


def throughput(results: Sequence[Result]) -> list[str]:
    """Return the table of the readers by task, each beside the stock tap."""
    heads = ["task", "reader", "events", "events per CPU second", "CPU s per million", "wall s"]
    heads += ["peak MB", "times as fast as the stock tap, by CPU", "by wall"]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- |" + " --: |" * 7]
    for result in results:
        stock = next(
            (
                other
                for other in results
                if other.contender == STOCK
                and (other.task, other.events) == (result.task, result.events)
            ),
            None,
        )
        cpu = result.middle(lambda run: run.cpu)
        lines.append(
            f"| {result.task} | {result.contender} | {result.events:,} "
            f"| {result.events / cpu:,.0f} | {cpu / result.events * 1e6:.2f} "
            f"| {result.middle(lambda run: run.wall):.1f} "
            f"| {max(run.peak for run in result.runs) / 1e6:.0f} "
            f"| {_ratios(result, stock, 'cpu')} | {_ratios(result, stock, 'wall')} |"
        )
    return lines


def _ratios(result: Result, stock: Result | None, value: str) -> str:
    """Return the median of the rounds' ratios and, of several, the least and the greatest."""
    if stock is None:
        return ""
    ratios = [
        getattr(theirs, value) / getattr(ours, value)
        for ours, theirs in zip(result.runs, stock.runs, strict=True)
    ]
    spread = f" ({min(ratios):.1f} to {max(ratios):.1f})" if len(ratios) > 1 else ""
    return f"{median(ratios):.1f}{spread}"


def memory(results: Iterable[Result]) -> list[str]:
    """Return the table of peak memory by size of the export."""
    lines = ["| task | events in one export | peak MB | wall s |", "| --- | --: | --: | --: |"]
    lines += [
        f"| {result.task} | {result.events:,} | {max(run.peak for run in result.runs) / 1e6:.0f} "
        f"| {result.middle(lambda run: run.wall):.1f} |"
        for result in results
    ]
    return lines


def timings(results: Iterable[Timing]) -> list[str]:
    """Return the table of waiting times."""
    lines = ["| what | seconds | of several runs | ideal | |", "| --- | --: | --: | --- | --- |"]
    lines += [
        f"| {one.task} | {median(one.seconds):.2f} | {min(one.seconds):.2f} to "
        f"{max(one.seconds):.2f} | {one.ideal} | {one.note} |"
        for one in results
    ]
    return lines


def costs(results: Iterable[Cost]) -> list[str]:
    """Return the table of syncs of many windows, each beside the least number of exports."""
    heads = ["sync", "events", "exports that would do", "jobs", "of them too large"]
    heads += ["job time, times the ideal", "wall s", "wall, times the ideal", "has to be"]
    heads += ["learnt, bytes in STATE", "a job, bytes in STATE", "load"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " --: |" * 7 + " --- |" + " --: |" * 3]
    lines += [
        f"| {one.case} | {one.events:,} | {one.ideal} | {one.jobs} | {one.too_large} "
        f"| {one.job_time_ratio:.2f} | {one.wall:.0f} | {one.wall_ratio:.2f} | {one.has_to_be} "
        f"| {one.learnt_bytes} | {one.job_bytes} | {one.load:.1f} |"
        for one in results
    ]
    return lines


def load(runs: Iterable[Run]) -> str:
    """Return a sentence on the load of the machine."""
    loads = [run.load for run in runs]
    return (
        f"Load of the machine before the runs: {median(loads):.1f} in the median, "
        f"{max(loads):.1f} at most."
        if loads
        else ""
    )
