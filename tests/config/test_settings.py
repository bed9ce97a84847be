"""Settings: coerced once, and refused with their name and what would be right."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from singer_sdk.plugin_base import JSONSchemaValidator

from tap_barchart_events.config.declaration import CONFIG_JSONSCHEMA, OWN
from tap_barchart_events.config.settings import Settings
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.tap import TapBarchartEvents

GOOD: dict[str, Any] = {
    "username": "someone",
    "password": "s3cret-word",
    "customer": "TGAM",
    "products": ["WATCHLIST"],
    "start_date": "2019-10-14",
}

FILES: dict[str, Any] = {
    "encoding": {"format": "jsonl", "compression": "gzip"},
    "storage": {"root": "file:///var/tmp/events"},
}


def test_the_least_configuration_has_the_defaults_of_the_contract() -> None:
    settings = Settings.from_config(GOOD)
    assert settings.largest_window == 744 * 3_600_000
    assert settings.smallest_window == 1000
    assert settings.lookback == 24 * 3_600_000
    assert settings.lag == 15 * 60_000
    assert settings.max_concurrent_jobs == 4
    assert settings.job_timeout_minutes == 20
    assert settings.poll_interval_seconds == 2
    assert settings.request_timeout_seconds == 60
    assert settings.max_retries == 8
    assert (settings.delimiter, settings.quote_character) == ("|", '"')
    assert settings.event_types == ()
    assert settings.end_date is None
    assert settings.api_url == "https://events.aws.barchart.com"


def test_decimals_strings_and_lists_in_text_are_read_alike() -> None:
    plain = {
        "products": ["WATCHLIST", "ALERT"],
        "window_hours": 0.5,
        "max_retries": 3,
        "columns": {"X": ["timestamp", "type", "a"]},
    }
    decimals = {**plain, "window_hours": Decimal("0.5"), "max_retries": Decimal(3)}
    texts = {
        "products": '["WATCHLIST", "ALERT"]',
        "window_hours": "0.5",
        "max_retries": "3",
        "columns": '{"X": ["timestamp", "type", "a"]}',
    }
    commas = {**texts, "products": "WATCHLIST, ALERT"}
    expected = Settings.from_config(GOOD | plain)
    for others in (decimals, texts, commas):
        assert Settings.from_config(GOOD | others) == expected


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("username", "", "missing"),
        ("customer", None, "missing"),
        ("customer", "TG\nAM", "without control characters"),
        ("customer", "TG\x85AM", "without control characters"),
        ("products", ["WATCH\tLIST"], "product codes without control characters"),
        ("event_types", ["WATCHLIST\x00"], "event type codes without control characters"),
        ("products", [], "at least one"),
        ("products", ["A", "A"], "different product codes"),
        ("products", [""], "product codes"),
        ("products", 5, "product codes"),
        ("products", "[oops", "product codes"),
        ("event_types", ["A", 1], "event type codes"),
        ("start_date", "soon", "2019-10-14T00:00:00Z"),
        ("start_date", 5, "2019-10-14T00:00:00Z"),
        ("end_date", "2019-10-14", "after start_date"),
        ("window_hours", 0, "above 0"),
        ("window_hours", "many", "above 0"),
        ("window_hours", True, "above 0"),
        ("window_hours", float("inf"), "above 0"),
        ("window_hours", "nan", "above 0"),
        ("min_window_seconds", -1, "above 0"),
        ("min_window_seconds", 10**7, "window_hours"),
        ("lookback_hours", -0.1, "at least 0"),
        ("lag_minutes", "x", "at least 0"),
        ("max_concurrent_jobs", 0, "at least 1"),
        ("max_concurrent_jobs", 1.5, "whole number"),
        ("job_timeout_minutes", 0, "above 0"),
        ("poll_interval_seconds", 0, "above 0"),
        ("request_timeout_seconds", [], "above 0"),
        ("max_retries", -1, "at least 0"),
        ("delimiter", "||", "one ASCII character"),
        ("delimiter", "\n", "one ASCII character"),
        ("delimiter", "\0", "one ASCII character"),
        ("delimiter", "¦", "one ASCII character"),
        ("quote_character", "|", "differ"),
        ("quote_character", "ab", "empty"),
        ("quote_character", " ", "white space"),
        ("quote_character", "\t", "white space"),
        ("quote_character", "\x1f", "control character"),
        ("quote_character", "“", "one ASCII character"),
        ("columns", [1], "an object"),
        ("columns", {"X": ["timestamp", "type", "type"]}, "an object"),
        ("columns", {"X": ["timestamp", "type", "userId", "user_id"]}, "all different"),
        ("columns", {"X": ["userId"]}, "timestamp and type among them"),
        ("columns", {"X": ["timestamp", "type", "-"]}, "a letter or digit"),
        ("columns", "{", "an object"),
        ("layout_check", "off", "warning"),
        ("layout_check", [], "warning"),
        ("api_url", "http://events.aws.barchart.com", "https"),
        ("api_url", "ftp://localhost", "https"),
        ("api_url", "events", "https"),
        ("api_url", "https://", "https"),
        ("api_url", "https://host:port", "https"),
        ("api_url", "https://host/?a=1", "https"),
        ("api_url", "https://ev ents.example.com", "https"),
        ("api_url", "https://exa\nmple.com", "https"),
        ("api_url", "https://exa\u00a0mple.com", "https"),
        ("api_url", "https://example.com/a\x7fb", "https"),
        ("api_url", "https://example.com:0", "https"),
        ("username", "some:one", "no colon"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_what_would_be_right(
    name: str, value: object, wanted: str
) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_config({**GOOD, name: value})
    assert f"setting {name}" in str(caught.value)
    assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("username", "\ud800"),
        ("password", "\ud800"),
        ("customer", "\ud800"),
        ("products", ["\ud800"]),
        ("event_types", ["\ud800"]),
        ("columns", {"X": ["timestamp", "type", "a\ud800"]}),
        ("columns", {"\ud800": ["timestamp", "type", "a"]}),
        ("delimiter", "\ud800"),
        ("quote_character", "\ud800"),
        ("layout_check", "\ud800"),
        ("start_date", "\ud800"),
        ("api_url", "https://\ud800"),
    ],
)
def test_text_that_is_no_utf_8_is_refused_in_words_that_are(name: str, value: object) -> None:
    with pytest.raises(SettingError, match=f"setting {name} must be") as caught:
        Settings.from_config({**GOOD, name: value})
    assert str(caught.value).encode()
    assert "codec" not in str(caught.value)


@pytest.mark.parametrize("name", OWN)
def test_the_json_schema_shows_the_bounds_that_a_value_is_held_to(name: str) -> None:
    shown = CONFIG_JSONSCHEMA["properties"][name]
    assert shown["title"]
    assert shown["description"]
    assert shown.get("secret", False) == (name in {"username", "password"})
    if not {"number", "integer"} & set(shown["type"]):
        return
    # min_window_seconds must not exceed window_hours
    others = {**GOOD, "window_hours": 10**9}
    Settings.from_config({**others, name: shown["maximum"]})
    with pytest.raises(SettingError, match=f"at most {shown['maximum']:,}"):
        Settings.from_config({**others, name: shown["maximum"] + 1})
    if "exclusiveMinimum" in shown:
        low = shown["exclusiveMinimum"]
    else:
        Settings.from_config({**others, name: shown["minimum"]})
        low = shown["minimum"] - 1
    with pytest.raises(SettingError, match=f"setting {name} must be"):
        Settings.from_config({**others, name: low})


def test_lists_and_characters_have_bounds_in_the_json_schema_too() -> None:
    shown = CONFIG_JSONSCHEMA["properties"]
    assert (shown["products"]["minItems"], shown["products"]["uniqueItems"]) == (1, True)
    assert shown["event_types"]["uniqueItems"]
    assert (shown["delimiter"]["minLength"], shown["delimiter"]["maxLength"]) == (1, 1)
    assert shown["quote_character"]["maxLength"] == 1
    assert shown["layout_check"]["enum"] == ["error", "warning"]


def test_a_tab_may_separate_fields() -> None:
    assert Settings.from_config({**GOOD, "delimiter": "\t"}).delimiter == "\t"


def test_no_refusal_shows_a_secret() -> None:
    for bad in (
        {"password": 12345678},
        {"password": "12345678\ud800"},
        {"username": "12345678:"},
        {"batch_config": {**FILES, "storage": {"params": {"key": "12345678"}}}},
        {"username": 12345678},
        {"api_url": "https://someone:12345678@events.aws.barchart.com"},
    ):
        with pytest.raises(SettingError) as caught:
            Settings.from_config(GOOD | bad)
        assert "12345678" not in str(caught.value)


def test_http_is_for_loopback_hosts() -> None:
    for url in ("http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9", "https://x.test/"):
        assert Settings.from_config({**GOOD, "api_url": url}).api_url == url.rstrip("/")


def test_the_password_is_not_in_the_representation() -> None:
    assert "s3cret-word" not in repr(Settings.from_config(GOOD))


def test_the_environment_gives_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {**CONFIG_JSONSCHEMA}
    TapBarchartEvents.append_builtin_config(schema)
    given = {
        **{name: str(shown["default"]) for name, shown in OWN.items() if "default" in shown},
        **GOOD,
        "products": '["WATCHLIST"]',
        "event_types": "WATCHLIST-CREATED",
        "end_date": "2020-01-01T00:00:00.000+00:00",
        "columns": '{"X": ["timestamp", "type"]}',
        "flattening_enabled": "True",
        "flattening_max_depth": "2",
        "flattening_max_key_length": "50",
        "flattening_separator": "__",
        "stream_maps": '{"events": {"user_id": "__NULL__"}}',
        "stream_map_config": '{"a": 1}',
        "faker_config": '{"seed": 1}',
        "batch_config": "",
    }
    assert given.keys() == schema["properties"].keys()
    for name, value in given.items():
        monkeypatch.setenv(f"TAP_BARCHART_EVENTS_{name.upper()}", value)
    assert TapBarchartEvents(parse_env_config=True).config == {
        **{name: shown["default"] for name, shown in OWN.items() if "default" in shown},
        **GOOD,
        "start_date": "2019-10-14T00:00:00.000+00:00",
        "event_types": ["WATCHLIST-CREATED"],
        "end_date": "2020-01-01T00:00:00.000+00:00",
        "columns": {"X": ["timestamp", "type"]},
        "flattening_enabled": True,
        "flattening_max_depth": 2,
        "flattening_max_key_length": 50,
        "flattening_separator": "__",
        "stream_maps": {"events": {"user_id": "__NULL__"}},
        "stream_map_config": {"a": 1},
        "faker_config": {"seed": 1},
        "batch_config": None,
    }


def test_only_line_breaks_are_removed_from_the_ends_of_credentials() -> None:
    settings = Settings.from_config({**GOOD, "username": "\r\n me \n", "password": " a\nb \n\n"})
    assert (settings.username, settings.password) == (" me ", " a\nb ")


@pytest.mark.parametrize(
    ("name", "same", "expected"),
    [
        ("flattening_max_depth", [2, 2.0, Decimal(2), Decimal("2.0"), "2", " 2 "], 2),
        ("flattening_max_key_length", [9, Decimal(9), "9"], 9),
        ("flattening_max_key_length", [None, ""], None),
        ("flattening_enabled", [True, "true", "True"], True),
        ("flattening_separator", ["."], "."),
        ("stream_map_config", [{"a": "1"}, '{"a": "1"}'], {"a": "1"}),
        ("stream_map_config", [None, ""], None),
        ("faker_config", [{"seed": 1}, '{"seed": 1}'], {"seed": 1}),
        ("max_retries", [3, 3.0, Decimal(3), "3"], 3),
        ("products", [["ALERT"], '["ALERT"]', "ALERT"], ["ALERT"]),
        ("customer", ["TGAM"], "TGAM"),
    ],
)
def test_a_setting_of_any_origin_has_its_declared_type(
    name: str, same: list[Any], expected: object
) -> None:
    flat = {"flattening_enabled": True, "flattening_max_depth": 1}
    for value in same:
        tap = TapBarchartEvents(config={**GOOD, **flat, name: value})
        assert tap.config.get(name) == expected, value
        assert type(tap.config.get(name)) is type(expected), value


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("flattening_enabled", "yes", "true or false, not 'yes'"),
        ("flattening_enabled", 1, "true or false, not '1'"),
        ("flattening_max_depth", "deep", "a whole number of at least 0, not 'deep'"),
        ("flattening_max_depth", -1, "a whole number of at least 0, not '-1'"),
        ("flattening_max_depth", 1.5, "a whole number of at least 0, not '1.5'"),
        ("flattening_max_depth", True, "a whole number of at least 0, not 'True'"),
        ("flattening_max_depth", float("nan"), "a whole number of at least 0, not 'nan'"),
        ("flattening_max_key_length", Decimal("NaN"), "a whole number, not 'NaN'"),
        ("flattening_max_key_length", "long", "a whole number, not 'long'"),
        ("flattening_separator", 5, "text, not '5'"),
        ("stream_maps", "12345678", "an object"),
        ("stream_maps", '["12345678"]', "an object"),
        ("stream_map_config", "12345678", "an object"),
        ("stream_map_config", '{"12345678": NaN}', "an object"),
        ("faker_config", ["12345678"], "an object"),
        ("batch_config", "12345678", "an object"),
    ],
)
def test_a_bad_value_of_a_setting_of_the_sdk_is_refused_as_those_of_the_tap_are(
    name: str, value: object, wanted: str
) -> None:
    flat = {"flattening_enabled": True, "flattening_max_depth": 1}
    with pytest.raises(SettingError) as caught:
        TapBarchartEvents(config={**GOOD, **flat, name: value})
    assert f"setting {name} must be {wanted}" in str(caught.value)
    assert "12345678" not in str(caught.value)


def test_the_validation_of_the_sdk_enforces_the_bounds() -> None:
    validator = JSONSchemaValidator(CONFIG_JSONSCHEMA)
    assert list(validator.iter_errors({**GOOD})) == []
    for name, shown in CONFIG_JSONSCHEMA["properties"].items():
        assert shown["title"], name
        assert shown["description"], name
        for bad in (
            *([shown["minimum"] - 1] if "minimum" in shown else []),
            *([shown["exclusiveMinimum"]] if "exclusiveMinimum" in shown else []),
            *([shown["maximum"] + 1] if "maximum" in shown else []),
            *([[]] if "minItems" in shown else []),
            *([["A", "A"]] if "uniqueItems" in shown else []),
            *(["ab"] if "maxLength" in shown else []),
            *([""] if "minLength" in shown else []),
            *(["none of them"] if "enum" in shown else []),
        ):
            assert list(validator.iter_errors({**GOOD, name: bad})), (name, bad)


def test_an_empty_quote_character_is_a_value() -> None:
    assert Settings.from_config({**GOOD, "quote_character": ""}).quote_character == ""


def test_what_is_coerced_can_be_given_again() -> None:
    settings = Settings.from_config({**GOOD, "end_date": "2020-01-01T00:00:00.5+02:00"})
    assert Settings.from_config(settings.as_config()) == settings


def test_without_batch_config_no_batch_files_are_written() -> None:
    nothings: tuple[Any, ...] = (None, "", {})
    for nothing in nothings:
        assert Settings.from_config({**GOOD, "batch_config": nothing}).batch_config is None


def test_batch_config_is_read_alike_from_numbers_decimals_and_text() -> None:
    expected = {**FILES, "batch_size": 3000}
    for size in (3000, 3000.0, Decimal(3000), "3000"):
        settings = Settings.from_config({**GOOD, "batch_config": {**FILES, "batch_size": size}})
        assert settings.batch_config == expected
        assert Settings.from_config(settings.as_config()) == settings
    text = json.dumps(expected)
    assert Settings.from_config({**GOOD, "batch_config": text}).batch_config == expected


def test_what_batch_config_leaves_out_or_holds_as_null_has_a_default() -> None:
    for size in ({}, {"batch_size": None}):
        given = {
            "encoding": {"format": "parquet", "compression": None},
            "storage": {"root": "out", "prefix": "a-", "params": {"anon": True}},
            **size,
        }
        assert Settings.from_config({**GOOD, "batch_config": given}).batch_config == {
            "encoding": {"format": "parquet"},
            "storage": {"root": "out", "prefix": "a-", "params": {"anon": True}},
            "batch_size": 50_000,
        }


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("jsonl", "an object such as"),
        ([1], "an object such as"),
        ({"encoding": None}, "an object such as"),
        ({"encoding": "jsonl"}, "an object such as"),
        ({"storage": None}, "an object such as"),
        ({"storage": "file:///tmp"}, "an object such as"),
        ({"batchSize": 5}, "no keys but encoding, storage, batch_size"),
        ({"encoding": {"format": "jsonl", "level": 9}}, "no keys but format, compression"),
        ({"storage": {"root": "a", "bucket": "b"}}, "no keys but root, prefix, params"),
        ({"encoding": {"compression": "gzip"}}, "the format jsonl or parquet"),
        ({"encoding": {"format": "csv"}}, "the format jsonl or parquet"),
        ({"encoding": {"format": []}}, "the format jsonl or parquet"),
        ({"encoding": {"format": "jsonl", "compression": "zstd"}}, "the compression gzip or none"),
        ({"encoding": {"format": "jsonl", "compression": {}}}, "the compression gzip or none"),
        ({"storage": {}}, "a root"),
        ({"storage": {"root": " "}}, "a root"),
        ({"storage": {"root": 5}}, "a root"),
        ({"storage": {"root": "\ud800"}}, "a root"),
        ({"storage": {"root": "a", "prefix": 5}}, "a prefix"),
        ({"storage": {"root": "a", "params": "b"}}, "params"),
        *(
            ({"storage": {"root": "a", "prefix": prefix}}, "a prefix without")
            for prefix in ("x/y-", "/x", "../x", "a?", "a#", "a%20", "a\n")
        ),
        *(
            ({"storage": {"root": root}}, "a root without")
            for root in ("/a?b", "file:///a#b", "s3://b/a%20b", "/a\nb", "s3://b/a\x85")
        ),
        ({"batch_size": "abc"}, "a whole number of at least 1"),
        ({"batch_size": -5}, "a whole number of at least 1"),
        ({"batch_size": 0}, "a whole number of at least 1"),
        ({"batch_size": 1.5}, "a whole number of at least 1"),
        ({"batch_size": True}, "a whole number of at least 1"),
        ({"batch_size": float("nan")}, "a whole number of at least 1"),
        (
            {"encoding": {"format": "parquet"}, "batch_size": 2047},
            "a whole number of at least 2,048 for Parquet",
        ),
    ],
)
def test_a_batch_config_that_cannot_be_used_is_refused(change: Any, wanted: str) -> None:
    given = {**FILES, **change} if isinstance(change, dict) else change
    with pytest.raises(SettingError, match=r"^setting batch_config must be an object") as caught:
        Settings.from_config({**GOOD, "batch_config": given})
    assert wanted in str(caught.value)


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("depth", [60, 900, 5000])
def test_a_batch_config_nested_by_the_thousand_is_refused(depth: int, as_text: bool) -> None:  # noqa: FBT001
    text = '{"a":' * depth + "1" + "}" * depth
    given: Any = json.dumps(FILES)[:-2] + f', "params": {text}}}}}'
    if not as_text:
        inner: dict[str, Any] = {}
        for _ in range(depth):
            inner = {"a": inner}
        given = {**FILES, "storage": {"root": "a", "params": inner}}
    with pytest.raises(SettingError, match=r"^setting batch_config must be an object such as"):
        Settings.from_config({**GOOD, "batch_config": given})


def test_a_parquet_file_may_be_as_small_as_duckdb_hands_out_rows() -> None:
    given = {**FILES, "encoding": {"format": "parquet"}, "batch_size": 2048}
    settings = Settings.from_config({**GOOD, "batch_config": given})
    assert settings.batch_config
    assert settings.batch_config["batch_size"] == 2048


def test_what_batch_files_are_stored_with_is_not_in_the_representation() -> None:
    storage = {"root": "s3://bucket", "params": {"secret": "s3cret-key"}}
    settings = Settings.from_config({**GOOD, "batch_config": {**FILES, "storage": storage}})
    assert "s3cret-key" not in repr(settings)
