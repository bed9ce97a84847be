"""Writes what the tap says of its settings into docs/, meltano.yml, hub/ and .env.example.

`make settings` runs it; a test holds the files to it. It depends on no setting by name.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from demo.environment import clean_environment

PROJECT = Path(__file__).resolve().parent.parent
README = PROJECT / "README.md"
SETTINGS_PAGE = PROJECT / "docs" / "settings.md"
MELTANO = PROJECT / "meltano.yml"
HUB = PROJECT / "hub" / "tap-barchart-events.yml"
ENV_EXAMPLE = PROJECT / ".env.example"

_PREFIX = "TAP_BARCHART_EVENTS_"
_FIRST_OF_THE_SDK = "stream_maps"
"""From here on the settings are the SDK's own, which docs/settings.md leaves to its pages."""
# What a newcomer has to fill in, as it could look.
_EXAMPLES = {
    "username": "someone",
    "password": "secret",
    "customer": "TGAM",
    "products": '["WATCHLIST","PORTFOLIO"]',
    "start_date": "2026-01-01T00:00:00Z",
}


def about() -> dict[str, Any]:
    """Return what `tap-barchart-events --about --format=json` prints."""
    command = [sys.executable, "-m", "tap_barchart_events", "--about", "--format=json"]
    environ = clean_environment()
    answer: dict[str, Any] = json.loads(
        subprocess.check_output(command, cwd=gettempdir(), env=environ, stdin=subprocess.DEVNULL)
    )
    return answer


def json_type(schema: dict[str, Any]) -> str:
    """Return what a setting may be, apart from null."""
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return " or ".join(kind for kind in kinds if kind != "null")


def settings_table(said: dict[str, Any]) -> str:
    """Return the table of the tap's own settings of docs/settings.md."""
    required = said["settings"].get("required", [])
    rows = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, schema in said["settings"]["properties"].items():
        if name == _FIRST_OF_THE_SDK:
            break
        kind = "date-time" if schema.get("format") == "date-time" else json_type(schema)
        if kind == "array":
            kind = "array of strings"
        kind += ", secret" if schema.get("secret") else ""
        default = "none"
        if name in required:
            default = "required"
        elif schema.get("default") is not None:
            default = f"`{schema['default']}`"
        meaning = " ".join(schema["description"].split())
        cells = (f"`{name}`", kind, *(text.replace("|", "\\|") for text in (default, meaning)))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def meltano_kind(schema: dict[str, Any]) -> str:
    """Return what Meltano calls this kind of setting."""
    if schema.get("enum"):
        return "options"
    if schema.get("format") == "date-time":
        return "date_iso8601"
    # Meltano makes a Decimal of a `decimal` from the environment, and then cannot write it.
    return {"number": "string"}.get(json_type(schema), json_type(schema))


def meltano_settings(said: dict[str, Any], indent: str = "") -> str:
    """Return the `settings` of the extractor for Meltano and its hub, each line indented."""
    lines = []
    for name, schema in said["settings"]["properties"].items():
        lines.append(f"- name: {name}")
        lines.append(f"  label: {json.dumps(schema['title'], ensure_ascii=False)}")
        lines.append(f"  kind: {meltano_kind(schema)}")
        if schema.get("secret"):
            lines.append("  sensitive: true")
        if schema.get("default") is not None:
            lines.append(f"  value: {json.dumps(schema['default'])}")
        if schema.get("enum"):
            lines.append("  options:")
            for choice in schema["enum"]:
                lines += [f"  - label: {choice.capitalize()}", f"    value: {choice}"]
        text = " ".join(schema["description"].split())
        lines.append(f"  description: {json.dumps(text, ensure_ascii=False)}")
    return "\n".join(indent + line for line in lines)


def env_example(said: dict[str, Any]) -> str:
    """Return the lines of .env.example: those to fill in, and the others commented out."""
    lines = []
    for name, schema in said["settings"]["properties"].items():
        lines.append(f"# {' '.join(schema['description'].split())}")
        value = schema.get("default")
        text = "" if value is None else f"'{value}'" if not str(value).isalnum() else str(value)
        if name in said["settings"].get("required", []):
            example = _EXAMPLES[name]
            # In single quotes a shell, too, leaves what is in a password alone.
            lines.append(f"{_PREFIX}{name.upper()}='{example}'")
        else:
            lines.append(f"# {_PREFIX}{name.upper()}={text}")
    return "\n".join(lines)


def between(text: str, comment: str, new: str | None = None) -> tuple[str, str]:
    """Find what lies between the two marks of the settings, and put something in its place.

    Args:
        text: A whole file.
        comment: How a comment looks there, with `%s` for its text.
        new: What to put between the marks; None leaves it as it is.

    Returns:
        What was there, and the whole file with what is there now.
    """
    lines = text.splitlines()
    plain = [line.strip() for line in lines]
    begin = plain.index(comment % "settings: written by `make settings`") + 1
    end = plain.index(comment % "settings: end")
    there = "\n".join(lines[begin:end])
    now = (there if new is None else new).splitlines()
    return there, "\n".join([*lines[:begin], *now, *lines[end:], ""])


def pages(said: dict[str, Any]) -> list[tuple[Path, str, str]]:
    """Return, for each file with settings, its path, how it marks them, and what belongs there."""
    return [
        (SETTINGS_PAGE, "<!-- %s -->", settings_table(said)),
        (MELTANO, "# %s", meltano_settings(said, indent=4 * " ")),
        (HUB, "# %s", meltano_settings(said)),
        (ENV_EXAMPLE, "# %s", env_example(said)),
    ]


def main() -> None:
    """Write all of them again."""
    for path, comment, text in pages(about()):
        path.write_text(
            between(path.read_text(encoding="utf-8"), comment, text)[1], encoding="utf-8"
        )


if __name__ == "__main__":
    main()
