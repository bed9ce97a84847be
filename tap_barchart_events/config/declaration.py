"""What ``--about`` shows of the tap's settings: names, types, bounds, defaults, meaning."""

from __future__ import annotations

from typing import Any

from singer_sdk import typing as th

from tap_barchart_events.config.parsers import PRODUCTION

STAGING = "https://events-stage.aws.barchart.com"

LARGEST = 1_000_000_000
"""Largest number that a setting accepts: over 30 years in seconds."""

_POSITIVE = th.NumberType(exclusive_minimum=0, maximum=LARGEST)
_FROM_0 = th.NumberType(minimum=0, maximum=LARGEST)

CONFIG_JSONSCHEMA: dict[str, Any] = th.PropertiesList(
    th.Property(
        "username",
        th.StringType,
        required=True,
        secret=True,
        title="User name",
        description="User name for HTTP Basic authentication; Barchart issues it. Line breaks at "
        "its ends are removed.",
    ),
    th.Property(
        "password",
        th.StringType,
        required=True,
        secret=True,
        title="Password",
        description="Password for HTTP Basic authentication; Barchart issues it. Line breaks at "
        "its ends are removed.",
    ),
    th.Property(
        "customer",
        th.StringType,
        required=True,
        title="Customer",
        description="Customer code, such as TGAM. Unknown codes are passed on to the service.",
    ),
    th.Property(
        "products",
        th.ArrayType(th.StringType),
        required=True,
        title="Products",
        description="Different product codes, such as WATCHLIST; at least one. Each is a partition "
        "of the stream with a bookmark of its own.",
    ),
    th.Property(
        "event_types",
        th.ArrayType(th.StringType),
        title="Event types",
        description="Event type codes to extract, such as WATCHLIST-CREATED. All types by default.",
    ),
    th.Property(
        "start_date",
        th.DateTimeType,
        required=True,
        title="Start date",
        description="First instant to extract (ISO 8601, UTC if it has no offset).",
    ),
    th.Property(
        "end_date",
        th.DateTimeType,
        title="End date",
        description="Exclusive end of the range to extract (ISO 8601), after the start date. No "
        "end by default.",
    ),
    th.Property(
        "window_hours",
        _POSITIVE,
        default=744,
        title="Window size",
        description="Largest window of one export, in hours. The tap chooses the size of each "
        "window.",
    ),
    th.Property(
        "min_window_seconds",
        _POSITIVE,
        default=1,
        title="Smallest window",
        description="Smallest window, in seconds. The tap splits a window that is too large for "
        "one export, but no window of this size.",
    ),
    th.Property(
        "lookback_hours",
        _FROM_0,
        default=24,
        title="Lookback",
        description="Hours before the bookmark that each sync exports again, for events that "
        "arrived late. Set 0 for targets that append.",
    ),
    th.Property(
        "lag_minutes",
        _FROM_0,
        default=15,
        title="Lag",
        description="Minutes before now at which each sync ends, so that its windows are complete.",
    ),
    th.Property(
        "max_concurrent_jobs",
        th.IntegerType(minimum=1, maximum=LARGEST),
        default=4,
        title="Concurrent jobs",
        description="Largest number of export jobs in flight, over all products.",
    ),
    th.Property(
        "job_timeout_minutes",
        _POSITIVE,
        default=20,
        title="Job timeout",
        description="Minutes after which a running job counts as too large. Its window is then "
        "split.",
    ),
    th.Property(
        "poll_interval_seconds",
        _POSITIVE,
        default=2,
        title="Poll interval",
        description="Longest pause before the first poll of a job, in seconds, while no job times "
        "are known. With job times, the first poll comes when the job is expected to end. No pause "
        "exceeds 15 times this.",
    ),
    th.Property(
        "request_timeout_seconds",
        th.NumberType(exclusive_minimum=0, maximum=86_400),
        default=60,
        title="Request timeout",
        description="Timeout of a connection attempt and of each read, in seconds.",
    ),
    th.Property(
        "max_retries",
        th.IntegerType(minimum=0, maximum=LARGEST),
        default=8,
        title="Retries",
        description="How often a failed call is retried, within a total time limit.",
    ),
    th.Property(
        "delimiter",
        th.StringType(min_length=1, max_length=1),
        default="|",
        title="Delimiter",
        description="Field separator of the export files, one character. The tap sends it to the "
        "service if it is not |.",
    ),
    th.Property(
        "quote_character",
        th.StringType(max_length=1),
        default='"',
        title="Quote character",
        description="Quote character of the export files. If it is empty, quotes are data.",
    ),
    th.Property(
        "columns",
        th.ObjectType(additional_properties=th.ArrayType(th.StringType)),
        title="Columns",
        description="Product code to the column names of its files, in order. It applies to files "
        "without a usable header, instead of the known layouts.",
    ),
    th.Property(
        "layout_check",
        th.StringType,
        default="error",
        allowed_values=["error", "warning"],
        title="Layout check",
        description="What to do if event types contradict the layout of a file without a header: "
        "fail the window (error) or continue (warning).",
    ),
    th.Property(
        "api_url",
        th.StringType,
        default=PRODUCTION,
        title="API URL",
        description=f"Base URL of the service. Staging is {STAGING}. The scheme is https, or http "
        "for a loopback host.",
    ),
).to_dict()

OWN: dict[str, dict[str, Any]] = dict(CONFIG_JSONSCHEMA["properties"])
"""JSON schemas of the tap's own settings. The SDK adds its settings to the other dictionary."""

OWN["products"] |= {"minItems": 1, "uniqueItems": True}
OWN["event_types"] |= {"uniqueItems": True}
