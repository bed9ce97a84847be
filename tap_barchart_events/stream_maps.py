"""The check of the setting ``stream_maps``: the SDK passes over a misspelt name without a word."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from tap_barchart_events.config.codes import did_you_mean, plain
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import PRODUCTS, columns_of
from tap_barchart_events.schema import NULLS, STREAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ELSE, SOURCE, ALIAS = "__else__", "__source__", "__alias__"

MISSHAPEN = (
    "setting stream_maps holds a value of another form than the SDK documents; set __else__ to "
    'null or "__NULL__", and everything else to an expression'
)


def check_stream_maps(maps: object, properties: Iterable[str]) -> None:
    """Refuse maps of which a part would have no effect.

    Args:
        maps: The value of the setting.
        properties: The properties of the stream before selection.

    Raises:
        SettingError: An event would be lost, or a value that was to be hidden would be written.
    """
    own: list[str] = []
    entries = maps.items() if isinstance(maps, dict) else ()  # the SDK refuses all other types
    for name, entry in entries:
        stream_map = entry if isinstance(entry, dict) else {}
        stream = str(stream_map.get(SOURCE, name))
        if name != ELSE and not fnmatch(STREAM, stream):
            meant = did_you_mean(stream, [STREAM, ELSE])
            raise _refused(
                f"names the stream {stream[:100]!r}, but the only stream is {STREAM}",
                meant or f"; a copy of it has {STREAM} as its {SOURCE}",
            )
        if name != ELSE and SOURCE not in stream_map:
            own.append(name)
        _check_operators(stream_map)
        _check_properties(stream_map, set(properties))
    if len(own) > 1:  # the SDK uses the last one alone
        named = ", ".join(map(repr, own))
        raise _refused(f"has several maps for {STREAM}: {named}", "; merge them into one")


def check_else(maps: object) -> None:
    """Refuse a value of ``__else__`` on which the SDK's check of settings would break.

    Raises:
        SettingError: It is not null.
    """
    entries = [maps, *maps.values()] if isinstance(maps, dict) else []
    if any(isinstance(one, dict) and one.get(ELSE) not in NULLS for one in entries):
        raise SettingError(MISSHAPEN)


def _check_operators(stream_map: Mapping[str, Any]) -> None:
    # The SDK takes any other name for a property, and an alias beside a source as well.
    naming = [SOURCE] if SOURCE in stream_map else [SOURCE, ALIAS]
    operators = [*naming, ELSE, "__filter__", "__key_properties__"]
    for name in stream_map:
        if name.startswith("__") and name not in operators:
            raise _refused(
                f"has a map with {name[:100]!r}, which is no operator of it; its operators are "
                f"{', '.join(operators)}",
                did_you_mean(name, operators),
            )


def _check_properties(stream_map: Mapping[str, Any], properties: set[str]) -> None:
    known = properties | set(columns_of(list(PRODUCTS)))
    kept = {} if ELSE in stream_map else {plain(p): p for p in properties - set(stream_map)}
    for name, expression in stream_map.items():
        if name.startswith("__"):
            continue
        if expression in NULLS:
            if name not in known:
                raise _refused(
                    f"removes {name[:100]!r}, which is no property of the stream",
                    did_you_mean(name, known),
                )
        elif name not in properties and plain(name) in kept:
            other = kept[plain(name)]
            raise _refused(
                f"adds {name[:100]!r} and leaves {other} as it is",
                f"; did you mean {other}? To rename it, remove {other} in the same map",
            )


def _refused(what: str, advice: str) -> SettingError:
    return SettingError(f"setting stream_maps {what}{advice or '; correct it, or leave it out'}")
