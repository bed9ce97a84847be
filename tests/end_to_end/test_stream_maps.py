"""Stream maps: each form that the SDK documents works; a map that would do nothing is refused."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.command import describe_error
from tests.expected_events import arrived, expected_events
from tests.tap_runs import START, Outcome, catalog_of, hour, settings_of, sync, synced

Maps = dict[str, Any]
Record = dict[str, Any]

END = hour(1)


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.01, events_per_hour=60) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def no_requests_yet(service: Emulator) -> None:
    service.requests.clear()


def mapped(service: Emulator, maps: Maps | None, **more: Any) -> Outcome:
    """Run a sync of an hour with stream maps; it must succeed."""
    return synced(settings_of(service, end_date=END, stream_maps=maps, **more))


@pytest.fixture(scope="module")
def plain(service: Emulator) -> list[Record]:
    """The records without a stream map."""
    return synced(settings_of(service, end_date=END)).records


def of_stream(outcome: Outcome, stream: str, kind: str = "RECORD") -> list[dict[str, Any]]:
    """Return the messages of a kind of one stream."""
    return [m for m in outcome.messages if m["type"] == kind and m["stream"] == stream]


SPLIT = {
    "watchlist_events": {"__source__": "event", "__filter__": "product == 'WATCHLIST'"},
    "events": {"__filter__": "product != 'WATCHLIST'"},
}
NO_STREAM = "refers to the stream 'Events', but the only stream is events; did you mean events?"
OTHER_FORM = "contains a value that is not in the form the SDK documents"


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        (SPLIT, "stream 'event', but the only stream is events; did you mean events?"),
        ({"Events": {"user_id": "sha256(user_id)"}}, NO_STREAM),
        ({"Events": {}, "__else__": None}, NO_STREAM),
        ({"EVENT*": {"user_id": None}}, "refers to the stream 'EVENT*'"),
        ({"copy": {"__source__": "usage*"}}, "refers to the stream 'usage*'"),
        ({"copy": {"__filter__": "product"}}, "to copy it, set __source__ to events"),
        ({"events": {}, "__esle__": None}, "did you mean __else__?"),
        ({"events": {"__fliter__": "product"}}, "did you mean __filter__?"),
        ({"events": {"__nonsense__": "1"}}, "'__nonsense__', which is none of the operators _"),
        ({"copy": {"__source__": "events", "__alias__": "x"}}, "'__alias__', which is none of the"),
        ({"events": {"userid": None}}, "removes 'userid', which is not a property"),
        ({"events": {"userId": "__NULL__"}}, "did you mean user_id?"),
        ({"ev*": {"user": None}}, "did you mean user_id?"),
        ({"events": {"ab_test": None}}, "property of the stream; correct it, or leave it"),
        ({"events": {}, "c": {"__source__": "e*", "user id": None}}, "did you mean user_id?"),
        ({"events": {"userId": "sha256(user_id)"}}, "adds 'userId' and leaves user_id as it is"),
        ({"*": {"USER_ID": "user_id"}}, "adds 'USER_ID' and leaves user_id as it is"),
        # The SDK uses the last one, and passes over the others.
        ({"*": {"user_id": None}, "events": {}}, "has several maps for events: '*', 'events'"),
        ({"events": {"user_id": None}, "e*": {"__alias__": "usage"}}, "for events: 'events', 'e*'"),
        ({"events": {"user_id": ""}}, OTHER_FORM),
        ({"events": {"__else__": "null"}}, OTHER_FORM),
        ({"events": {}, "__else__": "null"}, "cannot be used: Undefined transform for '__else__'"),
        ({"events": {"__alias__": None}}, OTHER_FORM),
        ({"events": {"user_id": 5}}, "cannot be used: Unexpected type 'int' in stream map"),
        ({"events": 5}, OTHER_FORM),
    ],
    ids=str,
)
def test_a_map_that_would_do_nothing_without_a_word_is_refused_before_any_request(
    service: Emulator, maps: Maps, said: str
) -> None:
    outcome = sync(settings_of(service, stream_maps=maps))
    assert outcome.error
    assert "setting stream_maps " in describe_error(outcome.error)
    assert said in describe_error(outcome.error)
    assert outcome.messages == []
    assert service.requests == []


def test_a_name_is_compared_with_the_properties_before_selection(service: Emulator) -> None:
    catalog = catalog_of(settings_of(service), user_id={"selected": False})
    catalog["streams"][0]["schema"]["properties"]["ab_test"] = {"type": ["string", "null"]}
    removed = {"events": {"user_id": None, "ab_test": None, "alert_id": None}}
    synced(settings_of(service, stream_maps=removed), catalog=catalog)
    misspelt = sync(settings_of(service, stream_maps={"events": {"abTest": None}}), catalog=catalog)
    assert "did you mean ab_test?" in misspelt.reason


def without(*names: str) -> Callable[[Record], Record]:
    return lambda record: {k: v for k, v in record.items() if k not in names}


def hashed(record: Record) -> Record:
    user = record["user_id"]
    return record | {"user_id": hashlib.sha256(user.encode()).hexdigest() if user else None}


def renamed(record: Record) -> Record:
    return without("user_id")(record) | {"userId": record["user_id"]}


KINDS = {str: "string", bool: "boolean", type(None): "null"}
HASH = "sha256(user_id) if user_id else None"


@pytest.mark.parametrize(
    ("stream_map", "expected"),
    [
        ({}, without()),
        ({"user_id": None}, without("user_id")),
        ({"user_id": "__NULL__", "symbol": None}, without("user_id", "symbol")),
        ({"alert_id": None}, without()),  # a column of a product that is not configured
        ({"end": None}, without("end")),
        ({"user_id": HASH}, hashed),
        ({"user_id": "sha256(record['user_id']) if _['user_id'] else None"}, hashed),
        ({"userId": "user_id", "user_id": None}, renamed),
        ({"user_id": "__NULL__", "userId": "user_id"}, renamed),
        ({"userId": "user_id", "user_id": HASH}, lambda r: hashed(r) | {"userId": r["user_id"]}),
        (
            {"event_id": "event_id", "userId": "user_id", "__else__": None},
            lambda r: {"event_id": r["event_id"], "userId": r["user_id"]},
        ),
        (
            {"event_id": "event_id", "type": "type", "__else__": "__NULL__"},
            lambda r: {"event_id": r["event_id"], "type": r["type"]},
        ),
        ({"source": "config['name'] + __stream_name__"}, lambda r: r | {"source": "tap-events"}),
        ({"has_user": "bool(user_id)"}, lambda r: r | {"has_user": bool(r["user_id"])}),
        (
            {"day": "datetime.date.fromisoformat(timestamp[:10])"},
            lambda r: r | {"day": r["timestamp"][:10]},
        ),
        ({"__filter__": "product == 'WATCHLIST'"}, without()),
        ({"__filter__": None}, without()),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_what_the_sdk_documents_of_properties_works(
    service: Emulator, plain: list[Record], stream_map: Maps, expected: Callable[[Record], Record]
) -> None:
    outcome = mapped(service, {"events": stream_map}, stream_map_config={"name": "tap-"})
    assert len(plain) > 30
    assert outcome.records == [expected(record) for record in plain]
    assert set(outcome.schema) == set(expected(plain[0]))
    assert outcome.bookmarks == {"WATCHLIST": END}
    for record in outcome.records:
        for name, value in record.items():
            assert KINDS[type(value)] in outcome.schema[name]["type"]


@pytest.mark.parametrize(
    ("maps", "streams"),
    [
        ({"events": {"__alias__": "'raw_' + __stream_name__"}}, {"raw_events"}),
        ({"ev?nts": {"__alias__": "usage"}}, {"usage"}),
        ({"events": {}, "__else__": None}, {"events"}),
        ({"copy": {"__source__": "events"}}, {"events", "copy"}),
        ({"copy": {"__source__": "eve*"}}, {"events", "copy"}),
        ({"copy": {"__source__": "events"}, "__else__": None}, {"copy"}),
        ({"copy": {"__source__": "events"}, "__else__": "__NULL__"}, {"copy"}),
        ({"events": None, "copy": {"__source__": "events"}}, {"copy"}),
        ({}, {"events"}),
        (None, {"events"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_what_the_sdk_documents_of_streams_works(
    service: Emulator, plain: list[Record], maps: Maps | None, streams: set[str]
) -> None:
    outcome = mapped(service, maps)
    assert {m["stream"] for m in outcome.messages if "stream" in m} == streams
    for stream in streams:
        assert len(of_stream(outcome, stream, "SCHEMA")) == 1
        assert [m["record"] for m in of_stream(outcome, stream)] == plain
    assert outcome.bookmarks == {"WATCHLIST": END}


@pytest.mark.parametrize(
    "maps", [{"events": None}, {"events": "__NULL__"}, {"__else__": None}, {"*": None}], ids=str
)
def test_a_removed_stream_is_not_extracted(service: Emulator, maps: Maps) -> None:
    outcome = mapped(service, maps)
    assert outcome.records == []
    assert outcome.bookmarks == {}
    assert service.requests == []


@pytest.mark.parametrize("removed", [None, "__NULL__"])
def test_a_removed_column_does_not_go_to_extra_where_the_schema_lacks_it(
    service: Emulator, removed: str | None
) -> None:
    catalog = catalog_of(settings_of(service))
    [entry] = catalog["streams"]
    del entry["schema"]["properties"]["user_id"]
    entry["metadata"] = [m for m in entry["metadata"] if "user_id" not in m["breadcrumb"]]
    maps = {"events": {"user_id": removed}}
    outcome = synced(settings_of(service, end_date=END, stream_maps=maps), catalog=catalog)
    assert len(outcome.records) > 30
    assert all(record["extra"] is None for record in outcome.records)
    assert all("user_id" not in record for record in outcome.records)


@pytest.mark.parametrize("keys", [None, [], ["id"]])
def test_the_key_can_be_left_out_or_replaced(
    service: Emulator, plain: list[Record], keys: list[str] | None
) -> None:
    changed: Maps = {"id": "md5(event_id)", "event_id": None} if keys else {}
    outcome = mapped(service, {"events": {**changed, "__key_properties__": keys}})
    [made] = [m for m in outcome.messages if m["type"] == "SCHEMA"]
    assert made["key_properties"] == (keys or [])
    assert keys or outcome.records == plain
    assert not keys or all("event_id" not in r and len(r["id"]) == 32 for r in outcome.records)


def test_a_copy_can_hold_what_the_stream_leaves_out(service: Emulator, plain: list[Record]) -> None:
    maps = {
        "events": {"user_id": None},
        "people": {
            "__source__": "events",
            "event_id": "event_id",
            "user_id": "user_id",
            "__else__": None,
        },
    }
    outcome = mapped(service, maps)
    assert [m["record"] for m in of_stream(outcome, "events")] == [
        without("user_id")(record) for record in plain
    ]
    assert [m["record"] for m in of_stream(outcome, "people")] == [
        {name: record[name] for name in ("event_id", "user_id")} for record in plain
    ]


def test_one_product_can_be_split_off_into_a_stream_of_its_own(service: Emulator) -> None:
    maps = {**SPLIT, "watchlist_events": {**SPLIT["watchlist_events"], "__source__": "events"}}
    outcome = mapped(service, maps, products=["WATCHLIST", "ALERT"])
    for stream, product in (("watchlist_events", "WATCHLIST"), ("events", "ALERT")):
        got = arrived(message["record"] for message in of_stream(outcome, stream))
        assert got == expected_events(service, [product], START, END)


def test_a_map_replaces_users_by_made_up_names(service: Emulator, plain: list[Record]) -> None:
    maps = {"events": {"user_id": "fake.user_name() if user_id else None"}}
    seeded = {"faker_config": {"seed": 7, "locale": "en_US"}}
    masked, again = (mapped(service, maps, **seeded).records for _ in range(2))
    users = {record["user_id"] for record in plain} - {None}
    made_up = [record["user_id"] for record in masked]
    assert users
    assert any(made_up)
    assert not users & set(made_up)
    assert masked == again, "the seed had no effect"
    assert [r["event_id"] for r in masked] == [r["event_id"] for r in plain]
