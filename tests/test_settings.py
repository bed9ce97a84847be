"""Settings: converted once, and refused with their name and what would be right."""

import json
from decimal import Decimal
from typing import Any

import pytest
from singer_sdk.plugin_base import JSONSchemaValidator

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import EVENT_TYPES, PRODUCTS
from tap_barchart_events.settings import CONFIG_JSONSCHEMA, Settings, checked, unknown_codes
from tap_barchart_events.tap import TapBarchartEvents

SCHEMAS: dict[str, dict[str, Any]] = CONFIG_JSONSCHEMA["properties"]
DEFAULTS = {name: shown["default"] for name, shown in SCHEMAS.items() if "default" in shown}

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


def read(**more: Any) -> Settings:
    return Settings.from_config(checked({**GOOD, **more}))


def refusal(**more: Any) -> str:
    with pytest.raises(SettingError) as caught:
        checked({**GOOD, **more})
    return str(caught.value)


def test_the_least_configuration_has_the_defaults_of_the_contract() -> None:
    assert read() == Settings(
        username="someone",
        password="s3cret-word",  # noqa: S106
        customer="TGAM",
        products=["WATCHLIST"],
        start_date=1_571_011_200_000,
        largest_window=744 * 3_600_000,
        smallest_window=1000,
        lookback=24 * 3_600_000,
        lag=15 * 60_000,
        max_concurrent_jobs=4,
        job_timeout_minutes=20,
        poll_interval_seconds=2,
        request_timeout_seconds=60,
        max_retries=8,
        delimiter="|",
        quote_character='"',
        layout_check="error",
        api_url="https://events.aws.barchart.com",
    )


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("nothing", [None, "", {}], ids=repr)
def test_null_empty_text_and_an_empty_object_count_as_unset(name: str, nothing: object) -> None:
    if name in CONFIG_JSONSCHEMA["required"]:
        assert f"these settings are missing: {name}; set them in" in refusal(**{name: nothing})
    elif not (nothing == "" and name in {"quote_character", "flattening_separator"}):
        assert checked({**GOOD, name: nothing}) == checked(GOOD)


SIZES = (3000, 3000.0, Decimal(3000), "3000")
SIZED = {**FILES, "batch_size": 3000}
FLAT = {"flattening_enabled": True, "flattening_max_depth": 1}
COLUMNS = {"X": ["timestamp", "type", "a"]}
NEW_YEAR = "2020-01-01T00:00:00.000+00:00"


@pytest.mark.parametrize(
    ("name", "same", "expected"),
    [
        ("window_hours", [0.5, Decimal("0.5"), "0.5", " .5 "], 0.5),
        ("window_hours", [3, 3.0, Decimal(3), "3", "3.0"], 3),
        ("max_retries", [3, 3.0, Decimal(3), Decimal("3.0"), "3"], 3),
        ("products", [["ALERT"], '["ALERT"]', "ALERT"], ["ALERT"]),
        ("products", [["WATCHLIST", "ALERT"], "WATCHLIST, ALERT"], ["WATCHLIST", "ALERT"]),
        ("columns", [COLUMNS, json.dumps(COLUMNS)], COLUMNS),
        ("quote_character", [""], ""),
        ("end_date", ["2020-01-01", "2020-01-01T02:00:00+02:00", "2020-01-01T00:00:00Z"], NEW_YEAR),
        ("flattening_max_depth", [2, 2.0, Decimal(2), Decimal("2.0"), "2", " 2 "], 2),
        ("flattening_max_key_length", [9, Decimal(9), "9"], 9),
        ("flattening_enabled", [True, "true", "True"], True),
        ("batch_config", [json.dumps(SIZED), *({**FILES, "batch_size": n} for n in SIZES)], SIZED),
    ],
)
def test_a_setting_has_its_declared_type(name: str, same: list[Any], expected: object) -> None:
    for value in same:
        found = TapBarchartEvents(config={**GOOD, **FLAT, name: value}).config[name]
        assert found == expected, value
        assert type(found) is type(expected), value
        assert checked({**GOOD, name: found})[name] == expected, "it can be given again"


BAD_TEXTS = ("customer", "delimiter", "quote_character", "layout_check", "start_date", "api_url")
NAN = (float("nan"), Decimal("NaN"), "nan")
BAD_URLS = [
    *("http://events.aws.barchart.com", "ftp://localhost", "events", "https://"),
    *("https://host:port", "https://host/?a=1", "https://ev ents.example.com"),
    *("https://exa\nmple.com", "https://exa\u00a0mple.com", "https://example.com/a\x7fb"),
    "https://someone@example.com",
]
BAD_NUMBERS: list[Any] = [*NAN, "many", "inf", True, [], 10**400]
BAD_FOLDERS = (" ", "/a?b", "file:///a#b", "s3://b/a%20b", "/a\nb", "s3://b/a\x85")
BAD_PREFIXES = ("x/y-", "/x", "../x", "a?", "a#", "a%20", "a\n")
BAD_FILES: list[tuple[dict[str, Any], str]] = [
    ({"encoding": "jsonl"}, ".encoding must be an object, with format"),
    ({"storage": "file:///tmp"}, ".storage must be an object, with root"),
    ({"batchSize": 5}, ", with no keys other than encoding, storage, batch_size"),
    ({"encoding": {"format": "csv"}}, '.encoding.format must be "jsonl" or "parquet"'),
    ({"encoding": {"format": "jsonl", "compression": "zstd"}}, 'must be "gzip" or "none"'),
    *(({"storage": {"root": root}}, "a folder or URL without %") for root in BAD_FOLDERS),
    *(
        ({"storage": {"root": "a", "prefix": prefix}}, ".prefix must be text without /")
        for prefix in BAD_PREFIXES
    ),
    *(({"batch_size": size}, "a whole number, at least 1") for size in ("abc", -5, 0, 1.5, True)),
    ({"encoding": {"format": "parquet"}, "batch_size": 2047}, "at least 2,048 for Parquet"),
]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        *((name, 5, "") for name in BAD_TEXTS),
        *((name, "\ud800", "") for name in (*BAD_TEXTS, "username", "password")),
        ("products", ["\ud800"], "a list of text"),
        ("columns", {"X": ["timestamp", "type", "a\ud800"]}, "an object"),
        ("username", "some:one", "text with no colon"),
        ("customer", "TG\nAM", "without control characters"),
        ("products", ["WATCH\tLIST"], "without control characters"),
        ("event_types", ["WATCHLIST\x00"], "without control characters"),
        ("products", ["WATCHLIST", " "], "and not blank"),
        ("products", [], "a list of text, not empty, all different"),
        ("products", "A,", ".1 must be text in UTF-8, not empty"),
        ("products", "[oops", "a list of text"),
        ("event_types", ["A", 1], ".1 must be text in UTF-8"),
        ("start_date", "soon", "a date-time such as 2019-10-14T00:00:00Z"),
        ("end_date", "2019-10-14", "after start_date, 2019-10-14T00:00:00.000+00:00"),
        *(("window_hours", value, "a number, above 0, at most 1,000,") for value in BAD_NUMBERS),
        *(("max_retries", value, "a whole number, at least 0") for value in [*BAD_NUMBERS, 1.5]),
        ("min_window_seconds", 10**7, "at most window_hours"),
        ("delimiter", "||", "at most 1 character"),
        *(("delimiter", value, "one ASCII character") for value in "\n\0a-\\¦"),
        ("quote_character", "|", "a different character from delimiter"),
        *(("quote_character", value, "empty or one ASCII character") for value in " \t\x1fa-“"),
        ("columns", [1], "an object"),
        ("columns", {"X": "a"}, ".X must be a list of text"),
        *(
            ("columns", {"X": names.split()}, "without duplicates, each with a letter or digit, su")
            for names in (
                "timestamp type type",
                "timestamp type -",
                "timestamp type userId user_id",
                "userId",
            )
        ),
        ("layout_check", "off", '"error" or "warning"'),
        *(("api_url", url, "an https URL such as https://events.aws.") for url in BAD_URLS),
        ("flattening_enabled", "yes", "true or false, not 'yes'"),
        ("flattening_max_depth", -1, "a whole number, at least 0, not '-1'"),
        ("flattening_separator", 5, "text in UTF-8, not '5'"),
        ("stream_maps", "12345678", "an object"),
        ("batch_config", [1], "an object, with encoding and storage"),
        *(("batch_config", {**FILES, **change}, wanted) for change, wanted in BAD_FILES),
        ("stream_map_config", '{"a": NaN}', "an object"),
        ("faker_config", {"seed": [1]}, ".seed must be as the SDK documents it"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_what_would_be_right(
    name: str, value: object, wanted: str
) -> None:
    sentence = refusal(**{name: value})
    assert sentence.startswith(f"setting {name}")
    assert wanted in sentence.partition(f"setting {name}")[2]
    assert "codec" not in sentence
    assert sentence.encode(), "it can be logged"


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_setting_has_a_title_and_a_description_and_secrets_are_marked(name: str) -> None:
    shown = SCHEMAS[name]
    assert shown["title"]
    assert shown["description"]
    assert shown.get("secret", False) == (name in {"username", "password"})


DURATIONS = ("min_window_seconds", "job_timeout_minutes", "poll_interval_seconds")


@pytest.mark.parametrize(
    ("bound", "bad", "names"),
    [
        ("exclusiveMinimum", 0, ("window_hours", "request_timeout_seconds", *DURATIONS)),
        ("minimum", -1, ("lookback_hours", "lag_minutes", "max_retries", "flattening_max_depth")),
        ("minimum", 0, ("max_concurrent_jobs",)),
        ("maximum", 10**9 + 1, ("window_hours", "lookback_hours", *DURATIONS, "max_retries")),
        ("maximum", 86_401, ("request_timeout_seconds",)),
        ("minItems", [], ("products",)),
        ("uniqueItems", ["A", "A"], ("products", "event_types")),
        ("minLength", "", ("delimiter",)),
        ("maxLength", "||", ("delimiter", "quote_character")),
        ("enum", "off", ("layout_check",)),
    ],
)
def test_the_json_schema_shows_the_bounds_and_the_validation_of_the_sdk_enforces_them(
    bound: str, bad: Any, names: tuple[str, ...]
) -> None:
    validator = JSONSchemaValidator(CONFIG_JSONSCHEMA)
    assert not list(validator.iter_errors({**GOOD}))
    for name in names:
        assert bound in SCHEMAS[name]
        assert list(validator.iter_errors({**GOOD, name: bad})), name
        if bad != "":
            assert f"setting {name} must be" in refusal(**{name: bad})


@pytest.mark.parametrize(
    "bad",
    [
        {"password": 12345678},
        {"password": "12345678\ud800"},
        {"username": "12345678:"},
        {"username": ["12345678"]},
        {"api_url": "https://someone:12345678@events.aws.barchart.com"},
        {"stream_maps": "12345678"},
        {"stream_map_config": '{"12345678": NaN}'},
        {"faker_config": ["12345678"]},
        {"batch_config": "12345678"},
        {"batch_config": {**FILES, "storage": {"root": "a", "params": "12345678"}}},
        {"batch_config": {**FILES, "storage": {"root": "a", "key": "12345678"}}},
        {"batch_config": {**FILES, "encoding": {"format": "12345678"}}},
        {"batch_config": {**FILES, "batch_size": "12345678 a"}},
    ],
    ids=str,
)
def test_no_refusal_shows_a_secret_or_what_maps_and_storages_hold(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as caught:
        TapBarchartEvents(config={**GOOD, **bad})
    assert "12345678" not in str(caught.value)


def test_http_is_for_loopback_hosts() -> None:
    for url in ("http://127.0.0.1:80", "http://localhost:1", "http://[::1]:9", " https://x.test/ "):
        assert read(api_url=url).api_url == url.strip(" /")


def test_credentials_are_not_in_the_representation() -> None:
    assert "s3cret-word" not in repr(read())
    assert "someone" not in repr(read())


def test_the_environment_gives_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        **DEFAULTS,
        **GOOD,
        "start_date": "2019-10-14T00:00:00.000+00:00",
        "event_types": ["WATCHLIST-CREATED"],
        "end_date": NEW_YEAR,
        "columns": COLUMNS,
        "flattening_enabled": True,
        "flattening_max_depth": 2,
        "flattening_max_key_length": 50,
        "flattening_separator": "__",
        "stream_maps": {"events": {"user_id": "__NULL__"}},
        "stream_map_config": {"a": 1},
        "faker_config": {"seed": 1},
        "batch_config": {**FILES, "batch_size": 3000},
    }
    assert values.keys() == SCHEMAS.keys()
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(f"TAP_BARCHART_EVENTS_{name.upper()}", text)
    assert TapBarchartEvents(parse_env_config=True).config == values


def test_what_batch_config_leaves_out_or_holds_as_null_has_a_default() -> None:
    storage = {"root": "out", "prefix": "a-", "params": {"anon": True, "key": None}}
    encoding = {"format": "parquet", "compression": None}
    given = {"encoding": encoding, "storage": storage, "batch_size": 2048}
    assert checked({**GOOD, "batch_config": given})["batch_config"]["batch_size"] == 2048
    given["batch_size"] = None
    assert checked({**GOOD, "batch_config": given})["batch_config"] == {
        "encoding": {"format": "parquet"},
        "storage": storage,
        "batch_size": 50_000,
    }


def test_discovery_needs_no_setting_but_those_given_have_to_be_right() -> None:
    assert checked({}, must_be_complete=False) == DEFAULTS
    with pytest.raises(SettingError, match="setting products must be a list of text"):
        checked({"products": 5}, must_be_complete=False)


TYPE_MISSES = [
    *("WATCHLIST-CREATD", "WATCHLIST-CREATEDD", "WATCHLIST-CREATET", "WATCHLIST-CRAETED"),
    *("watchlist-created", "WATCHLIST_CREATED", "WATCHLISTCREATED", "watchlist created "),
]


@pytest.mark.parametrize("code", TYPE_MISSES)
def test_a_near_miss_of_a_known_type_is_refused_with_the_type_that_was_meant(code: str) -> None:
    for product in ("WATCHLIST", "ALERT", "GADGET"):
        sentence = refusal(products=[product], event_types=["WATCHLIST-DELETED", code])
        assert f"contains {code!r}, which is not known; did you mean WATCHLIST-CREATED?" in sentence


def test_a_near_miss_of_a_known_product_is_refused_unless_it_has_columns() -> None:
    for code in ("WATCHLISTS", "watchlist", "WATCHLST", "WTACHLIST"):
        assert "did you mean WATCHLIST?" in refusal(products=["ALERT", code])
        assert read(products=[code], columns={code: ["timestamp", "type"]}).products == [code]
    assert read(products=[*PRODUCTS], event_types=sorted(EVENT_TYPES)).products == [*PRODUCTS]


def test_a_code_that_is_only_like_a_known_one_is_passed_on_with_a_warning() -> None:
    types = ["WATCHLIST-CREATED", "WATCHLIST-UPDATED-ANEW", "WATCHLIST-DELET", "AL", "WATCHL-ISTC"]
    products = ["WATCHLIST", "GADGET", "AL", "WATCHLI", "ATCHLISTS", "WTACHLITS"]
    assert read(products=products, event_types=types).event_types == types
    of_types, *of_products = unknown_codes(products, types, [])
    assert of_types.endswith(f"to the service: {', '.join(types[1:])}")
    assert [line.split()[1] for line in of_products] == products[1:]
    assert all("is unknown" in line for line in of_products)
    [of_another_product] = unknown_codes(["ALERT"], ["WATCHLIST-CREATED"], [])
    assert of_another_product.endswith("to the service: WATCHLIST-CREATED")
    assert not list(unknown_codes(["WATCHLIST", "GADGET"], ["WATCHLIST-CREATED"], ["GADGET"]))
