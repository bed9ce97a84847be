"""Imports keep the contracts of ``pyproject.toml``, and these find what they forbid."""

import shutil
import sys
from pathlib import Path

from demo.pipeline import PROJECT
from tests.project.commands import output_of

LINTER = (Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo")
PACKAGES = [init.parent for init in PROJECT.glob("*/__init__.py")]


def test_imports_keep_the_direction_of_the_architecture() -> None:
    output_of(*LINTER)


WRONG = [
    ("tap_barchart_events/api/http.py", "tap_barchart_events.exports.planner"),
    ("tap_barchart_events/windows.py", "tap_barchart_events.output.writer"),
    ("tap_barchart_events/exports/planner.py", "tap_barchart_events.output.writer"),
    ("tap_barchart_events/windows.py", "barchart_events_emulator.options"),
    ("barchart_events_emulator/jobs.py", "tap_barchart_events.api.client"),
]
CYCLE = ("tap_barchart_events/schema.py", "tap_barchart_events.tap")


def test_imports_in_the_other_direction_are_found_even_for_types_only(tmp_path: Path) -> None:
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, tmp_path / package.name, ignore=ignored)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    for module, imported in (*WRONG, CYCLE):
        with (tmp_path / module).open("a", encoding="utf-8") as text:
            text.write(f"\nif TYPE_CHECKING:\n    import {imported}\n")
    output = output_of(*LINTER, code=1, folder=tmp_path)
    assert ".schema -> .tap (" in output
    assert "KEPT" not in output
    for module, imported in WRONG:
        source = module.removesuffix(".py").replace("/", ".")
        assert f"{source} -> {imported}" in output
