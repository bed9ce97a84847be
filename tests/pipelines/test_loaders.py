"""The loaders as meltano.yml declares them are the loaders as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from demo.pipeline import PROJECT
from tests.pipelines.pipe import TARGET_POSTGRES, output_of

if TYPE_CHECKING:
    from pathlib import Path

TARGET_SNOWFLAKE = PROJECT / ".venv-snowflake" / "bin" / "target-snowflake"
_KINDS = {
    "string": "string",
    "password": "string",
    "integer": "integer",
    "boolean": "boolean",
}


@pytest.mark.parametrize("command", [TARGET_POSTGRES, TARGET_SNOWFLAKE], ids=lambda path: path.name)
def test_every_setting_of_a_loader_is_one_that_it_has(command: Path) -> None:
    about: dict[str, Any] = json.loads(output_of([command, "--about", "--format=json"]))
    has = about["settings"]["properties"]
    project = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))
    (loader,) = [one for one in project["plugins"]["loaders"] if one["name"] == command.name]
    for setting in loader["settings"]:
        assert setting["name"] in has
        assert _KINDS[setting["kind"]] in has[setting["name"]]["type"]
    assert set(loader["capabilities"]) <= set(about["capabilities"])
