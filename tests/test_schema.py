"""Catalogs: what cannot be used is refused in a sentence, and the keys are always the stream's."""

import copy
import json
from typing import Any

import pytest

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.schema import checked_catalog
from tap_barchart_events.tap import TapBarchartEvents


@pytest.fixture(scope="module")
def discovered() -> dict[str, Any]:
    tap = TapBarchartEvents(config={"products": ["WATCHLIST"]}, validate_config=False)
    catalog: dict[str, Any] = json.loads(tap.catalog_json_text)
    return catalog


@pytest.mark.parametrize("value", [["event_id"], None, [], "nonsense", ["user_id"]])
def test_keys_are_the_streams_in_any_catalog(discovered: dict[str, Any], value: object) -> None:
    changed = copy.deepcopy(discovered)
    [entry] = changed["streams"]
    entry |= {"key_properties": value, "replication_key": value}
    assert checked_catalog(changed) == discovered
    del entry["key_properties"], entry["replication_key"]
    assert checked_catalog(changed) == discovered


NO_FORM = "is not in the form that --discover writes; make a new one with --discover, or, if"


@pytest.mark.parametrize(
    "change",
    [
        {"schema": None},
        {"schema": {}},
        {"schema": {"properties": {"end": {}}}},
        {"schema": {"properties": {"event_id": {}}}},
        {"schema": {"properties": {"event_id": 1, "end": {}}}},
        {"tap_stream_id": "usage"},
        {"metadata": None},
        {"metadata": [{"breadcrumb": "x"}]},
    ],
    ids=str,
)
def test_a_useless_catalog_is_refused(discovered: dict[str, Any], change: dict[str, Any]) -> None:
    [entry] = discovered["streams"]
    with pytest.raises(SettingError, match=NO_FORM):
        checked_catalog({"streams": [{**entry, **change}]})


@pytest.mark.parametrize("streams", [None, [], {}, "events", ["events"], 5])
def test_a_catalog_without_streams_is_refused(streams: object) -> None:
    with pytest.raises(SettingError, match=NO_FORM):
        checked_catalog({"streams": streams})
