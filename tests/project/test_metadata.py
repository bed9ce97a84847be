"""The plugin's metadata passes the schema that Meltano publishes, and agrees with the tap."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from demo.pipeline import PROJECT
from tests.settings_pages import HUB, MELTANO

# The hub's own: Meltano's schema does not know them, and no package ships the hub's.
OF_THE_HUB = {"definition", "domain_url", "keywords", "maintenance_status", "next_steps"}
OF_THE_HUB |= {"quality", "settings_preamble", "supported_python_versions", "usage"}


@pytest.fixture(scope="module")
def hub() -> dict[str, Any]:
    definition: dict[str, Any] = yaml.safe_load(HUB.read_text(encoding="utf-8"))
    return definition


def errors(project: object) -> list[str]:
    """Return what the schema of the installed Meltano finds in a project file."""
    (path,) = (PROJECT / ".venv-meltano").glob(
        "lib/python*/site-packages/meltano/schemas/meltano.schema.json"
    )
    validator = Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))
    return [error.message for error in validator.iter_errors(project)]


def test_meltano_yml_passes_the_schema_of_the_installed_meltano() -> None:
    assert errors(yaml.safe_load(MELTANO.read_text(encoding="utf-8"))) == []


def test_the_hub_definition_is_an_extractor_that_meltano_can_add(hub: dict[str, Any]) -> None:
    extractor = {name: value for name, value in hub.items() if name not in OF_THE_HUB}

    assert errors({"version": 1, "plugins": {"extractors": [extractor]}}) == []
    extractor["capabilities"].append("catalogue")
    assert errors({"version": 1, "plugins": {"extractors": [extractor]}})


def test_the_hub_and_the_classifiers_name_the_same_pythons(hub: dict[str, Any]) -> None:
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    mark = '"Programming Language :: Python :: 3.'
    minors = [line.strip().strip('",')[-4:] for line in project.splitlines() if mark in line]

    assert hub["supported_python_versions"] == minors
    assert f'requires-python = ">={minors[0]}"' in project
