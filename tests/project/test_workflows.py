"""What runs at GitHub and before a commit is what runs here."""

from __future__ import annotations

import re
from typing import Any

import yaml

from demo.pipeline import PROJECT
from tests.project.commands import ran


def loaded(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / path).read_text(encoding="utf-8"))
    return content


def commands_of(target: str) -> list[str]:
    """Return what a target of the Makefile runs by the tools of .venv."""
    planned = ran("make", "--dry-run", "--no-print-directory", target).stdout
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


def test_only_the_job_that_publishes_has_an_identity_and_it_runs_no_code_of_the_project() -> None:
    jobs = loaded(".github/workflows/release.yml")["jobs"]

    permissions = {name: job["permissions"] for name, job in jobs.items()}
    assert permissions == {"build": {"contents": "read"}, "publish": {"id-token": "write"}}
    assert jobs["publish"]["needs"] == "build"
    actions = [step["uses"].partition("@")[0] for step in jobs["publish"]["steps"]]
    assert actions == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]
