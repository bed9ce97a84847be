"""Catalogs: what cannot be used is refused in a sentence, what is left out is put in."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.schema import checked_catalog
from tap_barchart_events.tap import TapBarchartEvents

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def discovered() -> dict[str, Any]:
    tap = TapBarchartEvents(config={"products": ["WATCHLIST"]}, validate_config=False)
    catalog: dict[str, Any] = json.loads(tap.catalog_json_text)
    return catalog


def test_a_discovered_catalog_is_taken_as_it_is(discovered: dict[str, Any]) -> None:
    assert checked_catalog(copy.deepcopy(discovered)) == discovered


@pytest.mark.parametrize("keys", [None, []])
def test_a_catalog_without_key_properties_has_the_key(
    discovered: dict[str, Any], keys: object
) -> None:
    changed = copy.deepcopy(discovered)
    changed["streams"][0]["key_properties"] = keys
    assert checked_catalog(changed)["streams"][0]["key_properties"] == ["event_id"]
    del changed["streams"][0]["key_properties"]
    assert checked_catalog(changed)["streams"][0]["key_properties"] == ["event_id"]


def test_a_catalog_of_an_earlier_release_keeps_extra_when_flattened(
    discovered: dict[str, Any],
) -> None:
    changed = copy.deepcopy(discovered)
    changed["streams"][0]["schema"]["properties"]["extra"]["properties"] = {}
    assert checked_catalog(changed) == discovered


def without(*names: str) -> Change:
    def change(entry: dict[str, Any]) -> None:
        *path, last = names
        for name in path:
            entry = entry[name]
        del entry[last]

    return change


def with_value(name: str, value: object) -> Change:
    return lambda entry: entry.update({name: value})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (without("schema"), "is not in the form that --discover writes"),
        (without("schema", "properties"), "is not in the form that --discover writes"),
        (without("schema", "properties", "event_id"), "has a schema without event_id,"),
        (without("schema", "properties", "end"), "has a schema without end,"),
        (with_value("schema", None), "is not in the form that --discover writes"),
        (
            with_value("schema", {"properties": {"event_id": 1, "end": {}}}),
            "is not in the form that --discover writes",
        ),
        (with_value("key_properties", ["nonsense"]), "or some that are not in its schema"),
        (with_value("key_properties", "event_id"), "or some that are not in its schema"),
        (with_value("key_properties", ["user_id"]), "has key_properties without event_id, so a"),
        (with_value("stream", "usage"), "has no stream whose tap_stream_id and name are 'events'"),
        (
            with_value("tap_stream_id", "usage"),
            "has no stream whose tap_stream_id and name are 'events'",
        ),
        (without("tap_stream_id"), "is not in the form that --discover writes"),
        (with_value("metadata", None), "is not in the form that --discover writes"),
        (
            with_value("metadata", [{"breadcrumb": "x"}]),
            "is not in the form that --discover writes",
        ),
        (with_value("replication_method", "LOG_BASED"), "replication method 'LOG_BASED'"),
        (with_value("replication_method", "incremental"), "replication method 'incremental'"),
        (
            with_value(
                "metadata",
                [{"breadcrumb": [], "metadata": {"forced-replication-method": "FULL"}}],
            ),
            "replication method 'FULL'",
        ),
    ],
)
def test_a_catalog_that_cannot_be_used_is_refused(
    discovered: dict[str, Any], change: Change, why: str
) -> None:
    changed = copy.deepcopy(discovered)
    change(changed["streams"][0])
    with pytest.raises(SettingError, match="; make a new one with --discover, or, if") as caught:
        TapBarchartEvents(config={}, catalog=changed, validate_config=False)
    assert why in str(caught.value)


@pytest.mark.parametrize("streams", [None, [], {}, "events", ["events"], 5])
def test_a_catalog_without_streams_is_refused(streams: object) -> None:
    with pytest.raises(SettingError, match=r"the catalog (has no stream|is not in the form)"):
        checked_catalog({"streams": streams})
