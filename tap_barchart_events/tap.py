"""The Singer tap: settings, STATE, discovery."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import click
from dotenv import dotenv_values, find_dotenv
from singer_sdk import Tap
from singer_sdk.mapper import RemoveRecordTransform
from singer_sdk.tap_base import CliTestOptionValue

from tap_barchart_events.command import Command
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.output.signals import handle_signals
from tap_barchart_events.output.writer import MessageWriter
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.schema import MISSHAPEN, STREAM, check_stream_maps, checked_catalog, schema
from tap_barchart_events.settings import CONFIG_JSONSCHEMA, PREFIX, checked, did_you_mean
from tap_barchart_events.streams import EventsStream, is_no_sdk_notice

SECRETS = (f"{PREFIX}USERNAME", f"{PREFIX}PASSWORD")
"""The variables that hold credentials."""

NO_STATES: tuple[dict[str, Any], ...] = ({}, {"bookmarks": {}}, {"bookmarks": {STREAM: {}}})


class TapBarchartEvents(Tap):
    """Singer tap for usage events of the Barchart Event Tracking System."""

    name = "tap-barchart-events"
    config_jsonschema: ClassVar[dict[str, Any]] = CONFIG_JSONSCHEMA

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        catalog: Any = None,
        **kwargs: Any,
    ) -> None:
        """Read and check the settings; no request is made.

        Args:
            config: The configuration, as it came from files.
            parse_env_config: Whether environment variables, and a .env file here or above, add
                to it.
            validate_config: Whether it must be complete; discovery needs no setting.
            catalog: The catalog, as it came from a file, or the SDK's own object.
            **kwargs: Passed on to the SDK.

        Raises:
            SettingError: A setting is missing or cannot be used.
        """
        self.logger.addFilter(is_no_sdk_notice)
        values = dict(config or {})
        if parse_env_config:
            values |= self._environment()
        self._warn_of(values)
        values = checked(values, must_be_complete=validate_config)
        # In discovery, these keep the SDK from warning about missing settings.
        names = dict.fromkeys(CONFIG_JSONSCHEMA["required"], "")
        values = {**names, "products": list(PRODUCTS), **values}
        writer = MessageWriter()
        handle_signals(writer.signals.handle)
        super().__init__(
            config=values,
            validate_config=validate_config,
            catalog=checked_catalog(catalog) if isinstance(catalog, dict) else catalog,
            message_writer=writer,
            **kwargs,
        )

    def _environment(self) -> dict[str, str]:
        """Return setting → text, from the environment and a .env file, here or above."""
        path = find_dotenv(usecwd=True)
        for variable, text in dotenv_values(path, interpolate=False).items():
            if variable in SECRETS and "${" in (text or ""):
                warning = "%s in %s contains ${, which is expanded there; set it in the environment"
                self.logger.warning(warning, variable, path)
        # Meltano's variables other than settings, such as __SELECT, begin with two underscores.
        ours = re.compile(f"{PREFIX}(?!LOGLEVEL$|_)(.+)")
        variables = {**dotenv_values(path), **os.environ}
        found = [(ours.fullmatch(name), text) for name, text in variables.items()]
        return {name[1].lower(): text for name, text in found if name and text is not None}

    def _warn_of(self, values: dict[str, Any]) -> None:
        """Warn about unknown settings, and about line breaks around credentials; remove these."""
        known = CONFIG_JSONSCHEMA["properties"]
        for name in sorted(values.keys() - known):
            self.logger.warning("ignored the unknown setting %s%s", name, did_you_mean(name, known))
        for name in ("username", "password"):
            given = values.get(name)
            if isinstance(given, str) and given != given.strip("\r\n"):
                values[name] = given.strip("\r\n")
                warning = "setting %s begins or ends with a line break, which is removed"
                self.logger.warning(warning, name)

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the STATE to continue from.

        Raises:
            SettingError: This tap did not write it, so it would have no effect.
        """
        partitions: list[dict[str, Any]] = []
        try:
            if state not in NO_STATES:
                partitions = state["bookmarks"][STREAM]["partitions"]
            contexts = [(p["context"]["customer"], p["context"]["product"]) for p in partitions]
        except (KeyError, TypeError):
            raise SettingError(
                "STATE was not written by this tap; pass the value of the tap's last STATE message "
                "(under Meltano, the value of singer_state), or no STATE to begin at start_date"
            ) from None
        if twice := [context for context in contexts if contexts.count(context) > 1]:
            product = "/".join(map(str, twice[0]))
            raise SettingError(f"STATE holds two bookmarks of {product}; remove one partition")
        # The SDK also reads what this tap never writes, and expects it to be valid.
        kept = [{k: v for k, v in p.items() if k != "progress_markers"} for p in partitions]
        # A lone surrogate cannot be written as UTF-8 again.
        text = json.dumps(kept, ensure_ascii=False, default=str).encode(errors="replace")
        if partitions:
            super().load_state({"bookmarks": {STREAM: {"partitions": json.loads(text)}}})

    def setup_mapper(self) -> None:
        """Check the stream maps, and have the SDK read them.

        Raises:
            SettingError: A map would lose events, or write what it should hide, without an error.
        """
        listed = self.catalog[STREAM].schema.properties or {}
        properties = {*schema(self.config["products"])["properties"], *listed}
        try:
            check_stream_maps(self.config.get("stream_maps"), properties)
            super().setup_mapper()
        except (AttributeError, IndexError, KeyError, NotImplementedError, TypeError):
            raise SettingError(MISSHAPEN) from None
        maps = self.mapper.stream_maps[STREAM]
        for stream_map in maps:
            # Without a key, targets expect an empty list; the SDK would leave it out.
            stream_map.transformed_key_properties = stream_map.transformed_key_properties or []
        if all(isinstance(stream_map, RemoveRecordTransform) for stream_map in maps):
            self.streams[STREAM].selected = False  # a bookmark would pass events never written

    def discover_streams(self) -> Sequence[EventsStream]:
        """Return the one stream; its columns are those of the configured products."""
        return [EventsStream(self)]

    @classmethod
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Run ``--test``; the SDK's writes a SCHEMA, ends as a failed sync, and ignores STATE."""
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
        cast("EventsStream", tap.streams[STREAM]).test_connection()
        ctx.exit()

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Return the command line, with this tap's exit codes and last line."""
        return Command(super().get_singer_command(), cls.logger)

    # The one private name of the SDK outside streams.py.

    def _setup_signal_handlers(self) -> None:
        # The SDK's handlers would write a STATE without bookmarks, and end with the exit code 0.
        pass
