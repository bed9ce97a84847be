"""Files for Meltano, its hub, GitHub and pre-commit agree with the tap and with each other."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.pipeline import PROJECT
from tests.project.commands import meltano_errors, output_of
from tests.settings_pages import about, between, pages

# What only the hub's definitions have.
OF_THE_HUB = {"domain_url", "keywords", "maintenance_status", "next_steps", "quality"}
OF_THE_HUB |= {"settings_group_validation", "settings_preamble", "supported_python_versions"}
OF_THE_HUB |= {"usage"}

LOADERS = (
    PROJECT / ".meltano/loaders/target-postgres/venv/bin/target-postgres",
    PROJECT / ".venv-snowflake/bin/target-snowflake",
)

PYPROJECT = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
PYTHONS = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)


def loaded(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / path).read_text(encoding="utf-8"))
    return content


MELTANO = loaded("meltano.yml")
(TAP,) = MELTANO["plugins"]["extractors"]


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    return about()


def test_settings_are_written_as_about_says_them(said: dict[str, Any]) -> None:
    for path, comment, expected in pages(said):
        there, _ = between(path.read_text(encoding="utf-8"), comment)
        assert there == expected, "run make settings"


def test_meltano_yml_is_what_meltano_needs_and_never_asks_the_hub(said: dict[str, Any]) -> None:
    plugins = [TAP, *MELTANO["plugins"]["loaders"], *MELTANO["plugins"]["utilities"]]

    assert [setting["name"] for setting in TAP["settings"]] == [*said["settings"]["properties"]]
    assert sorted(TAP["capabilities"]) == sorted(said["capabilities"])
    own = [plugin for plugin in plugins if "inherit_from" not in plugin]
    assert all(plugin["namespace"] for plugin in own)
    # What nothing is installed for is a program of the project.
    assert all(plugin.get("pip_url") or "./" in plugin["executable"] for plugin in own)
    inherited = {plugin["inherit_from"] for plugin in plugins if "inherit_from" in plugin}
    assert inherited <= {plugin["name"] for plugin in own}
    assert MELTANO["send_anonymous_usage_stats"] is False
    named = {name for block in MELTANO["jobs"][0]["tasks"] for name in block.split()}
    assert {name.partition(":")[0] for name in named} <= {plugin["name"] for plugin in plugins}
    assert {schedule["job"] for schedule in MELTANO["schedules"]} == {MELTANO["jobs"][0]["name"]}


def test_meltano_yml_passes_the_schema_of_the_installed_meltano() -> None:
    assert meltano_errors(MELTANO) == []
    other = {**TAP, "capabilities": ["catalogue"]}
    assert meltano_errors({**MELTANO, "plugins": {"extractors": [other]}})


@pytest.mark.parametrize("command", LOADERS, ids=lambda path: path.name)
def test_every_setting_of_a_loader_is_one_that_it_has(command: Path) -> None:
    there: dict[str, Any] = json.loads(output_of(command, "--about", "--format=json"))
    has = there["settings"]["properties"]
    (loader,) = [one for one in MELTANO["plugins"]["loaders"] if one["name"] == command.name]
    for setting in loader["settings"]:
        assert setting["name"] in has
        assert setting["kind"].replace("password", "string") in has[setting["name"]]["type"]
    assert set(loader["capabilities"]) <= set(there["capabilities"])


def test_the_hub_defines_the_extractor_of_meltano_yml(said: dict[str, Any]) -> None:
    hub = loaded("hub/tap-barchart-events.yml")
    definition = {name: value for name, value in hub.items() if name not in OF_THE_HUB}

    assert definition == TAP | {"pip_url": TAP["name"], "variant": "barchart-events"}
    assert set(hub["settings_group_validation"][0]) == set(said["settings"]["required"])
    assert hub["supported_python_versions"] == PYTHONS
    assert f'requires-python = ">={PYTHONS[0]}"' in PYPROJECT


def commands_of(target: str) -> list[str]:
    """Return what a target of the Makefile runs by the tools of .venv."""
    planned = output_of("make", "--dry-run", "--no-print-directory", target)
    return [line for line in planned.splitlines() if line.startswith(".venv/bin/")]


def test_the_hooks_before_a_commit_are_the_commands_of_make_lint() -> None:
    (repository,) = loaded(".pre-commit-config.yaml")["repos"]

    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == commands_of("lint")
    assert all(hook["always_run"] and not hook["pass_filenames"] for hook in repository["hooks"])


@pytest.mark.parametrize(
    ("arguments", "environments"),
    [
        ("tests/files -k quote", {".venv"}),
        ("-x tests/end_to_end/test_crash.py", {".venv", ".venv-singer-tools"}),
        ("tests/files tests/project/test_docs.py", None),
        ("-k quote", None),
        ("", None),
    ],
)
def test_make_test_installs_what_the_tests_of_its_arguments_need(
    arguments: str, environments: set[str] | None
) -> None:
    def installed(arguments: str) -> set[str]:
        planned = output_of("make", "--dry-run", "test", f"ARGS={arguments}")
        return set(re.findall(r" (\.[a-z-]+)/\.(?:ready|locked)\b", planned.splitlines()[0]))

    assert {".meltano", ".venv-dagster"} < installed("tests")
    assert installed(arguments) == (environments or installed("tests"))


def test_the_workflow_runs_the_commands_of_continuous_integration_on_every_python() -> None:
    job = loaded(".github/workflows/tests.yml")["jobs"]["linux"]
    ci = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")

    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs == ["make lint", "make test"]
    assert set(runs) <= set(ci.splitlines())
    assert job["strategy"]["matrix"]["python"] == PYTHONS


@pytest.mark.parametrize("target", ["check", "test-portable"])
def test_the_named_parts_of_the_suite_exist(target: str) -> None:
    paths = [word for word in commands_of(target)[-1].split() if word.startswith("tests/")]
    assert paths
    assert [path for path in paths if not [*PROJECT.glob(path)]] == []


def test_a_check_runs_the_linters_that_need_no_other_environment() -> None:
    assert commands_of("check")[:-1] == [
        command for command in commands_of("lint") if ".venv-dagster" not in command
    ]


def test_macos_runs_the_portable_part_of_the_suite() -> None:
    job = loaded(".github/workflows/tests.yml")["jobs"]["macos"]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test-portable"]


def test_a_workflow_runs_the_soak_each_week() -> None:
    workflow = loaded(".github/workflows/soak.yml")
    # YAML 1.1 reads the key `on` as true.
    (schedule,) = workflow[True]["schedule"]  # type: ignore[index]
    assert re.fullmatch(r"\d+ \d+ \* \* \d", schedule["cron"])
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1]["run"] == "make soak"


def test_only_the_job_that_publishes_has_an_identity_and_it_runs_no_code_of_the_project() -> None:
    jobs = loaded(".github/workflows/release.yml")["jobs"]

    permissions = {name: job["permissions"] for name, job in jobs.items()}
    assert permissions == {"build": {"contents": "read"}, "publish": {"id-token": "write"}}
    assert jobs["publish"]["needs"] == "build"
    actions = [step["uses"].partition("@")[0] for step in jobs["publish"]["steps"]]
    assert actions == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]
