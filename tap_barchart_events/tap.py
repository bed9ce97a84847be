"""The Singer tap: settings, STATE, discovery."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, ClassVar

from dotenv import dotenv_values, find_dotenv
from singer_sdk import Tap
from singer_sdk.mapper import RemoveRecordTransform
from singer_sdk.tap_base import CliTestOptionValue

from tap_barchart_events.command import Command
from tap_barchart_events.config.codes import did_you_mean
from tap_barchart_events.config.declaration import CONFIG_JSONSCHEMA
from tap_barchart_events.config.parsers import ENVIRONMENT_PREFIX, unknown_settings
from tap_barchart_events.config.settings import Settings, settings_of_the_sdk
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.output.signals import handle_signals
from tap_barchart_events.output.writer import MessageWriter
from tap_barchart_events.products import columns_of
from tap_barchart_events.schema import (
    MISSHAPEN,
    STREAM,
    check_else,
    check_stream_maps,
    checked_catalog,
    columns_with_property,
    schema,
)
from tap_barchart_events.streams import EventsStream, is_no_sdk_notice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click


class TapBarchartEvents(Tap):
    """Singer tap for usage events of the Barchart Event Tracking System."""

    name = "tap-barchart-events"
    config_jsonschema: ClassVar[dict[str, Any]] = CONFIG_JSONSCHEMA
    message_writer: MessageWriter

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        catalog: Any = None,
        **kwargs: Any,
    ) -> None:
        """Read and check the settings; nothing is requested.

        Args:
            config: The configuration, as it came from files.
            parse_env_config: Whether environment variables, and a file .env here or above, add
                to it.
            validate_config: Whether it must be complete; discovery needs no setting.
            catalog: The catalog, as it came from a file, or the SDK's own object.
            **kwargs: Passed on to the SDK.

        Raises:
            SettingError: A setting is missing or cannot be used.
        """
        self.logger.addFilter(is_no_sdk_notice)
        self.append_builtin_config(self.config_jsonschema)
        known = self.config_jsonschema["properties"]
        values = dict(config or {})
        unknown = set(values) - set(known)
        if parse_env_config:
            environment = {**_dotenv(known), **os.environ}
            variables = {name: environment.get(ENVIRONMENT_PREFIX + name.upper()) for name in known}
            values |= {name: value for name, value in variables.items() if value is not None}
            unknown |= unknown_settings(known, environment)
        self._warn_of(unknown, known)
        for name, value in list(settings_of_the_sdk(values, known)):
            values[name] = value
            if value is None:
                del values[name]  # the SDK accepts a null of stream_maps, but fails on it
        self.products = Settings.products_in(values)
        self.settings = self._read_settings(values, must_be_complete=validate_config)
        if isinstance(catalog, dict):
            catalog = checked_catalog(catalog)
        _check_mapping(values)
        writer = MessageWriter()
        handle_signals(writer.signals.handle)
        kwargs |= {"validate_config": validate_config, "catalog": catalog}
        super().__init__(config=values, message_writer=writer, **kwargs)
        self._warn_of_lacking_columns()

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add the SDK's own settings, one of them with the bound that the SDK leaves out."""
        super().append_builtin_config(config_jsonschema)
        config_jsonschema["properties"]["flattening_max_depth"]["minimum"] = 0

    def _read_settings(self, values: dict[str, Any], *, must_be_complete: bool) -> Settings | None:
        """Return the settings; replace their values by those that the SDK can check."""
        try:
            settings = Settings.from_config(values)
        except SettingError:
            if must_be_complete:
                raise
            # Discovery needs no settings; these keep the SDK from warning of missing ones.
            values |= dict.fromkeys(("username", "password", "customer", "start_date"), "")
            values["products"] = list(self.products)
            return None
        for name in ("username", "password"):
            if values[name] != getattr(settings, name):
                self.logger.warning(
                    "setting %s begins or ends with a line break, which is removed; store it "
                    "without one",
                    name,
                )
        values |= settings.as_config()
        return settings

    def _warn_of(self, unknown: set[str], known: Mapping[str, Any]) -> None:
        for name in sorted(unknown):
            meant = did_you_mean(name.removeprefix(ENVIRONMENT_PREFIX), known)
            self.logger.warning("there is no setting %s, so it is ignored%s", name, meant)

    def _warn_of_lacking_columns(self) -> None:
        entry = self.catalog[STREAM]
        listed = {"properties": entry.schema.properties or {}}
        maps = self.config.get("stream_maps")
        named = columns_with_property(self.products, listed, entry.metadata, maps)
        lacking = [column for column in columns_of(self.products) if column not in named]
        if lacking:
            self.logger.warning(
                "the catalog was made for other products, or by an older version: it lacks the "
                "columns %s of the products configured; their values go to extra, if that is "
                "selected; make a new one with --discover",
                ", ".join(lacking),
            )

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the STATE to continue from.

        Raises:
            SettingError: This tap did not write it, so it would have no effect.
        """
        # `meltano state get` prints it one level down, state backends keep it two levels down.
        if any(isinstance(v, dict) and "singer_state" in v for v in (state, *state.values())):
            raise SettingError("STATE is as Meltano keeps it; pass what stands under singer_state")
        partitions = _own_partitions(state)
        if partitions is None:
            raise SettingError(
                "STATE was not written by this tap, or it is a whole STATE message; pass the value "
                "of the last STATE message, as the target wrote it, or no STATE to begin at "
                "start_date"
            )
        contexts = [partition["context"] for partition in partitions]
        twice = [context for context in contexts if contexts.count(context) > 1]
        if twice:
            raise SettingError(
                f"STATE holds two bookmarks of {twice[0]['customer']}/{twice[0]['product']}; "
                "remove one of the two partitions"
            )
        # The SDK also reads what this tap never writes, and expects it to be in order.
        kept = [{k: v for k, v in p.items() if k != "progress_markers"} for p in partitions]
        # A lone surrogate cannot be written as UTF-8 again.
        text = json.dumps(kept, ensure_ascii=False, default=str).encode(errors="replace")
        bookmarks = {"events": {"partitions": json.loads(text)}}
        super().load_state({"bookmarks": bookmarks} if partitions else {})

    def setup_mapper(self) -> None:
        """Check the stream maps, and have the SDK read them.

        Raises:
            SettingError: A map would lose events, or write what it was to hide, without a word.
        """
        properties = self.catalog[STREAM].schema.properties or {}
        check_stream_maps(
            self.config.get("stream_maps"), {*schema(self.products)["properties"], *properties}
        )
        try:
            super().setup_mapper()
        except (AttributeError, IndexError, KeyError, TypeError):
            raise SettingError(MISSHAPEN) from None
        maps = self.mapper.stream_maps[STREAM]
        for stream_map in maps:
            # Without a key, targets expect an empty list; the SDK would leave it out.
            stream_map.transformed_key_properties = stream_map.transformed_key_properties or []
        if all(isinstance(stream_map, RemoveRecordTransform) for stream_map in maps):
            self.streams[STREAM].selected = False  # a bookmark would pass events never written

    def discover_streams(self) -> Sequence[EventsStream]:
        """Return the one stream; its columns are those of the configured products."""
        return [
            EventsStream(
                self,
                settings=self.settings,
                products=self.products,
                writer=self.message_writer,
            )
        ]

    @classmethod
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Run ``--test``; the SDK's own writes a SCHEMA, ends as a failed sync, ignores STATE."""
        if value in {CliTestOptionValue.Disabled.value, CliTestOptionValue.Schema.value}:
            super().cb_test(ctx, param, value)
            return
        config = ctx.params["config"]
        state, catalog = ctx.params.get("state"), ctx.params.get("catalog")
        tap = cls(
            config=config.config,
            state=json.load(state) if state else None,
            catalog=json.load(catalog) if catalog else None,
            parse_env_config=config.parse_env,
        )
        for stream in tap.streams.values():
            if isinstance(stream, EventsStream):
                stream.test_connection()
        ctx.exit()

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Return the command line, with this tap's exit codes and last line."""
        return Command(super().get_singer_command(), cls.logger)

    # The one private name of the SDK outside streams.py.

    def _setup_signal_handlers(self) -> None:
        # The SDK's handlers would write a STATE without bookmarks, and end with the exit code 0.
        pass


def _check_mapping(values: Mapping[str, Any]) -> None:
    check_else(values.get("stream_maps"))
    if not values.get("flattening_enabled"):
        return
    if values.get("flattening_max_depth") is None:
        raise SettingError("setting flattening_max_depth is missing: flattening_enabled needs it")


def _dotenv(known: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    """Read the file .env here or above; warn of secrets that it cannot hold."""
    path = find_dotenv(usecwd=True)
    try:
        values = dotenv_values(path)
        plain = dotenv_values(path, interpolate=False)
    except UnicodeDecodeError:
        raise SettingError(f"{path} is not UTF-8; save it in that encoding") from None
    for name, setting in known.items():
        variable = ENVIRONMENT_PREFIX + name.upper()
        if setting.get("secret") and "${" in (plain.get(variable) or ""):
            TapBarchartEvents.logger.warning(
                "%s in %s holds ${, which is replaced there, also in quotes; set the variable in "
                "the environment instead",
                variable,
                path,
            )
    return values


def _own_partitions(state: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the partitions of the stream in a STATE; None if this tap did not write it."""
    match state:
        case {"bookmarks": {"events": {"partitions": [*partitions]}}}:
            contexts = [p.get("context") if isinstance(p, dict) else None for p in partitions]
            names = {"customer", "product"}
            is_own = all(isinstance(c, dict) and c.keys() == names for c in contexts)
        case _:
            partitions = []
            is_own = state in ({}, {"bookmarks": {}}, {"bookmarks": {"events": {}}})
    return partitions if is_own else None
