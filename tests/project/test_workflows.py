"""What runs at GitHub and before a commit is what runs here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))


def loaded(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / path).read_text(encoding="utf-8"))
    return content


def commands_of(target: str) -> list[str]:
    """Return what a target of the Makefile runs by the tools of .venv."""
    planned = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [
        line
        for line in planned.splitlines()
        if line.startswith(".venv/bin/") and " pip " not in line
    ]


def test_the_hooks_before_a_commit_are_the_commands_of_make_lint() -> None:
    (repository,) = loaded(".pre-commit-config.yaml")["repos"]

    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == commands_of("lint")
    assert all(hook["always_run"] and not hook["pass_filenames"] for hook in repository["hooks"])


def test_make_lint_checks_every_file_for_github() -> None:
    linted = " ".join(commands_of("lint"))
    files = [*WORKFLOWS, *(PROJECT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")]

    assert len(files) > 2
    assert [f.name for f in files if str(f.relative_to(PROJECT)) not in linted] == []


def test_the_workflow_runs_the_commands_of_continuous_integration_on_every_python() -> None:
    job = loaded(".github/workflows/tests.yml")["jobs"]["linux"]
    ci = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    classifiers = re.findall(
        r'"Programming Language :: Python :: (3\.\d+)"',
        (PROJECT / "pyproject.toml").read_text(encoding="utf-8"),
    )

    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs == ["make lint", "make test"]
    assert set(runs) <= set(ci.splitlines())
    assert job["strategy"]["matrix"]["python"] == classifiers


def test_the_portable_part_of_the_suite_exists_and_is_what_macos_runs() -> None:
    job = loaded(".github/workflows/tests.yml")["jobs"]["macos"]
    (command,) = commands_of("test-portable")

    paths = [word for word in command.split() if word.startswith("tests/")]
    assert paths
    assert [path for path in paths if not (PROJECT / path).exists()] == []
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test-portable"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_hash_beside_its_version(workflow: Path) -> None:
    uses = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))

    assert uses
    assert [u for u in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", u)] == []


def test_only_the_job_that_publishes_has_an_identity_and_it_runs_no_code_of_the_project() -> None:
    jobs = loaded(".github/workflows/release.yml")["jobs"]

    permissions = {name: job["permissions"] for name, job in jobs.items()}
    assert permissions == {"build": {"contents": "read"}, "publish": {"id-token": "write"}}
    assert jobs["publish"]["needs"] == "build"
    actions = [step["uses"].partition("@")[0] for step in jobs["publish"]["steps"]]
    assert actions == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]


def test_the_form_for_defects_asks_for_version_settings_and_the_last_line() -> None:
    form = loaded(".github/ISSUE_TEMPLATE/defect.yml")
    required = {
        field["id"]
        for field in form["body"]
        if field.get("validations", {}).get("required") and "id" in field
    }

    assert {"version", "settings", "last-line"} <= required


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="git lists the files of the project")
def test_text_files_end_in_a_newline_and_no_line_in_a_space() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True
    ).stdout
    files = [PROJECT / name.decode() for name in listed.split(b"\0") if name]
    contents = {file.name: file.read_bytes() for file in files if file.is_file()}
    texts = {name: content for name, content in contents.items() if b"\0" not in content}

    assert len(texts) > 50
    assert [name for name, text in texts.items() if text and not text.endswith(b"\n")] == []
    assert [
        name for name, text in texts.items() if re.search(rb"[ \t\r]$", text, re.MULTILINE)
    ] == []
