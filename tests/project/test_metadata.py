"""The plugin's metadata passes the schemas that Meltano and its hub publish."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from tests.settings_pages import about

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).resolve().parents[2]

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}

# No package ships the hub's schema for extractors, so its rules are restated here (seen at commit
# 9d28b36a of github.com/meltano/hub, schemas/plugin_definitions/extractors.schema.json and what
# it refers to). Left out is what this definition does not use, such as `commands`.
SETTING = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": TEXT,
        "label": TEXT,
        "description": TEXT,
        "kind": {
            # The hub takes `password` and `hidden`, too; Meltano's schema calls them deprecated.
            "enum": [
                *("array", "boolean", "date_iso8601", "decimal", "email", "file", "integer"),
                *("oauth", "object", "options", "string"),
            ]
        },
        "value": {},
        "sensitive": {"type": "boolean"},
        "options": {
            "type": "array",
            "items": {"type": "object", "properties": {"label": TEXT, "value": TEXT}},
        },
    },
}
EXTRACTOR = {
    "type": "object",
    "required": ["name", "namespace", "variant", "quality"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(
            ("name", "namespace", "variant", "label", "description", "pip_url", "executable"), TEXT
        ),
        **dict.fromkeys(("definition", "next_steps", "prereq", "settings_preamble", "usage"), TEXT),
        **dict.fromkeys(("docs", "repo"), TEXT),
        "domain_url": {"type": ["string", "null"], "pattern": "^https?://"},
        "keywords": TEXTS,
        "select": TEXTS,
        "maintenance_status": {"enum": ["active", "beta", "development", "inactive", "unknown"]},
        "quality": {"enum": ["gold", "silver", "bronze", "unknown"]},
        "supported_python_versions": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^3\.\d+$"},
        },
        "capabilities": {
            "type": "array",
            "items": {
                "enum": [
                    *("about", "activate-version", "batch", "catalog", "discover", "log-based"),
                    *("properties", "schema-flattening", "state", "stream-maps"),
                    *("structured-logging", "test"),
                ]
            },
        },
        "settings": {"type": "array", "items": SETTING},
        "settings_group_validation": {"type": "array", "items": TEXTS},
    },
}


@pytest.fixture(scope="module")
def hub() -> dict[str, Any]:
    text = (PROJECT / "hub" / "tap-barchart-events.yml").read_text(encoding="utf-8")
    definition: dict[str, Any] = yaml.safe_load(text)
    return definition


def test_the_hub_definition_passes_the_hubs_schema(hub: dict[str, Any]) -> None:
    assert [error.message for error in Draft7Validator(EXTRACTOR).iter_errors(hub)] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda hub: hub.pop("quality"),
        lambda hub: hub.update(quality="excellent"),
        lambda hub: hub.update(keyword=["api"]),
        lambda hub: hub.update(supported_python_versions=[3.10]),
        lambda hub: hub["capabilities"].append("catalogue"),
        lambda hub: hub["settings"][0].update(kind="password"),
        lambda hub: hub["settings"][0].update(secret=True),
    ],
    ids=[
        "no quality",
        "unknown quality",
        "unknown key",
        "number as version",
        "unknown capability",
        "deprecated kind",
        "unknown key of a setting",
    ],
)
def test_the_restated_schema_finds_each_defect(
    hub: dict[str, Any], spoil: Callable[[dict[str, Any]], object]
) -> None:
    spoilt = deepcopy(hub)
    spoil(spoilt)

    assert len([*Draft7Validator(EXTRACTOR).iter_errors(spoilt)]) == 1


def test_meltano_yml_passes_the_schema_of_the_installed_meltano() -> None:
    (path,) = (PROJECT / ".venv-meltano").glob(
        "lib/python*/site-packages/meltano/schemas/meltano.schema.json"
    )
    schema = json.loads(path.read_text(encoding="utf-8"))
    project = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))

    assert [error.message for error in Draft202012Validator(schema).iter_errors(project)] == []
    # The schema calls these kinds deprecated, which a validator does not report.
    kinds = {
        setting.get("kind")
        for plugins in project["plugins"].values()
        for plugin in plugins
        for setting in plugin.get("settings", [])
    }
    assert not kinds & {"hidden", "password"}


def test_secrets_are_sensitive_and_defaults_are_those_of_about(hub: dict[str, Any]) -> None:
    schemas = about()["settings"]["properties"]
    settings = {setting["name"]: setting for setting in hub["settings"]}

    secrets = {name for name, schema in schemas.items() if schema.get("secret")}
    assert {"username", "password"} <= secrets
    assert {name for name, setting in settings.items() if setting.get("sensitive")} == secrets
    defaults = {n: s["default"] for n, s in schemas.items() if s.get("default") is not None}
    assert {n: s["value"] for n, s in settings.items() if "value" in s} == defaults


def test_the_hub_and_the_classifiers_name_the_same_pythons(hub: dict[str, Any]) -> None:
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    mark = '"Programming Language :: Python :: 3.'
    minors = [line.strip().strip('",')[-4:] for line in project.splitlines() if mark in line]

    assert hub["supported_python_versions"] == minors
    assert f'requires-python = ">={minors[0]}"' in project
