"""The files that deploy the nightly run, and docs/deploy.md, agree with the project."""

import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.pipeline import PROJECT
from tests.project.commands import meltano_errors

PAGE = PROJECT / "docs" / "deploy.md"
DEPLOYED = [*sorted((PROJECT / "deploy").iterdir()), PAGE, PROJECT / "Dockerfile"]
MELTANO = (PROJECT / "meltano.yml").read_text(encoding="utf-8")


def test_each_command_names_a_loader_and_a_utility_of_meltano_yml() -> None:
    plugins = yaml.safe_load(MELTANO)["plugins"]
    named = {kind: {plugin["name"] for plugin in plugins[kind]} for kind in plugins}
    commands = {path.name: nightly_commands(path) for path in DEPLOYED}

    assert {name for name, found in commands.items() if not found} <= {
        "barchart-events.timer",
        "cronjob.yaml",  # it runs the image's
    }
    for loader, utility in [pair for found in commands.values() for pair in found]:
        assert loader in named["loaders"]
        assert utility in named["utilities"]


def nightly_commands(path: Path) -> list[tuple[str, str]]:
    """Return the arguments of `orchestrate.nightly` in a file, also as lists of JSON."""
    text = re.sub(r'[",\[\]]|\bCMD\b', " ", path.read_text(encoding="utf-8"))
    return re.findall(r"-m\s+orchestrate\.nightly\s+(target-\w+)\s+(dbt-\w+)", text)


def test_the_image_has_what_the_nightly_command_reads_and_no_secret() -> None:
    lines = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]

    assert lines[1] == "*"
    assert all([*PROJECT.glob(pattern)] for pattern in let_in)
    read = {"meltano.yml", "orchestrate", "requirements", "tap_barchart_events", "transform"}
    assert read <= {pattern.partition("/")[0] for pattern in let_in}
    assert not any(fnmatch(".env", pattern) for pattern in let_in)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_the_units_are_what_systemd_reads(tmp_path: Path) -> None:
    units = [path for path in DEPLOYED if path.suffix in {".service", ".timer"}]
    for unit in units:
        text = unit.read_text(encoding="utf-8")
        text = re.sub(r"(?<=ExecStart=)\S+", "/bin/true", text)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")

    command = ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in units)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (len(units), done.returncode, done.stderr) == (2, 0, "")


def test_the_workflow_sets_variables_of_the_example_alone() -> None:
    workflow: dict[str, Any] = yaml.safe_load(
        (PROJECT / "deploy" / "scheduled-workflow.yml").read_text(encoding="utf-8")
    )
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    known = {*re.findall(r"^(?:# )?(\w+)=", example, re.MULTILINE), "MELTANO_DATABASE_URI"}

    (environ,) = [step["env"] for step in workflow["jobs"]["nightly"]["steps"] if "env" in step]
    assert environ.keys() <= known
    assert {name for name in known if "TARGET_POSTGRES" in name} <= environ.keys()


def test_the_backends_of_state_in_comments_are_what_meltano_reads() -> None:
    text = re.sub(r"^# (?=database_uri:|state_backend:|  uri:)", "", MELTANO, flags=re.MULTILINE)
    project = yaml.safe_load(text)

    assert project["database_uri"]
    assert project["state_backend"]["uri"]
    assert meltano_errors(project) == []


def test_the_dag_of_the_page_is_python() -> None:
    (dag,) = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    compile(dag, PAGE, "exec")
