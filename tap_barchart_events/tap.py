"""The tap: settings, discovery, command line. What a user meets first and last."""

from __future__ import annotations

import difflib
import logging
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, ClassVar

import click
from dotenv import dotenv_values, find_dotenv
from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError, MappingError
from singer_sdk.plugin_base import SingerCommand

from tap_barchart_events.config.parsers import (
    ENVIRONMENT_PREFIX,
    from_environment,
    unknown_settings,
)
from tap_barchart_events.config.settings import CONFIG_JSONSCHEMA, Settings
from tap_barchart_events.exceptions import BarchartEventsError, SettingError
from tap_barchart_events.output.writer import (
    CLOSED,
    SIGNALS,
    Interrupted,
    MessageWriter,
    stderr_has_room,
)
from tap_barchart_events.streams import EventsStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType


class TapBarchartEvents(Tap):
    """Singer tap for usage events of the Barchart Event Tracking System."""

    name = "tap-barchart-events"
    config_jsonschema: ClassVar[dict[str, Any]] = CONFIG_JSONSCHEMA
    message_writer_class = MessageWriter
    message_writer: MessageWriter

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        **kwargs: Any,  # noqa: ANN401 - the SDK's own
    ) -> None:
        """Read and check the settings; nothing is requested.

        Args:
            config: The configuration, as it came from files.
            parse_env_config: Whether environment variables, and a file .env here or above, add
                to it.
            validate_config: Whether it must be complete; discovery does without.
            **kwargs: Passed on to the SDK.

        Raises:
            SettingError: A setting is missing or cannot be used.
        """
        self.logger.addFilter(_suppress_sdk_notice)
        self.append_builtin_config(self.config_jsonschema)
        known = self.config_jsonschema["properties"]
        values = dict(config or {})
        strange = set(values) - set(known)
        if parse_env_config:
            environment = {**_dotenv(), **os.environ}
            values |= from_environment(known, environment)
            strange |= unknown_settings(known, environment)
        for name in sorted(strange):
            plain = name.removeprefix(ENVIRONMENT_PREFIX).lower()
            near = difflib.get_close_matches(plain, known, 1, 0.7)
            meant = f"; did you mean {near[0]}?" if near else ""
            self.logger.warning("there is no setting %s, so it is ignored%s", name, meant)
        self.products = Settings.products_in(values)
        self.settings: Settings | None = None
        try:
            self.settings = Settings.from_config(values)
            values |= self.settings.as_config()
        except SettingError:
            if validate_config:
                raise
            # Discovery needs no settings; with these the SDK does not warn of missing ones.
            values |= dict.fromkeys(("username", "password", "customer", "start_date"), "")
            values["products"] = list(self.products)
        ignored = _ignored()  # before the SDK takes signals
        super().__init__(config=values, validate_config=validate_config, **kwargs)
        _handle_signals(self.message_writer.interrupt, ignored)

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the STATE to go on from.

        Raises:
            SettingError: It is not one that this tap wrote: it would begin at ``start_date``.
        """
        if not _is_own(state):
            raise SettingError(
                "STATE is not one that this tap wrote, but a whole message or another tap's, say: "
                "pass the value of its last STATE message, as the target wrote it; or none, to "
                "begin at start_date"
            )
        super().load_state(state)

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
    def get_singer_command(cls) -> click.Command:
        """Return the command line, with this tap's way of ending."""
        command = super().get_singer_command()
        return Command(
            name=command.name,
            callback=command.callback,
            context_settings=command.context_settings,
            help=command.help,
            params=command.params,
            logger=cls.logger,
        )


class Command(SingerCommand):
    """The command line: whatever ends it, the last line on stderr says why, in a sentence."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's own
        """Run the command; exit with 0, 1 after an error, or 128 + a signal's number."""
        if sys.stdout is None:  # closed from the beginning
            sys.exit(CLOSED)
        _handle_signals(_end, _ignored())
        try:
            try:
                return super().main(*args, **kwargs)
            except Exception as error:
                self.logger.debug("Where it happened:", exc_info=error)
                self.logger.error("%s", describe_error(error))  # noqa: TRY400 - no traceback
        except Interrupted as end:
            if not stderr_has_room():
                # The logging of a thread waits for it, and Python's own end for that.
                os._exit(int(end.code or 0))
            raise
        _give_up_stdout()
        sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own
        """Run the callback, with warnings going to the log."""
        logging.captureWarnings(capture=True)
        return click.Command.invoke(self, ctx)


def _dotenv() -> dict[str, str | None]:
    path = find_dotenv(usecwd=True)
    try:
        return dotenv_values(path)
    except UnicodeDecodeError:
        raise SettingError(f"{path} is not UTF-8: save it anew as that") from None


def _give_up_stdout() -> None:
    """Drop what stdout cannot take: Python would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def describe_error(error: Exception) -> str:
    """Return the one sentence that says what failed and what to do."""
    text = str(error).partition("\n")[0]
    match error:
        case BarchartEventsError():
            pass
        case MappingError():
            # A name that is not there is the user's own; other reasons may show a value.
            named = type(error.__cause__).__name__ in {"NameNotDefined", "FunctionNotDefined"}
            reason = f" {error.__cause__}" if named else ""
            text = f"setting stream_maps cannot be used: {text}{reason}"
        case _ if _is_of_stream_map(error):
            kind = type(error).__name__
            text = f"setting stream_maps cannot be used: an expression ends in {kind} for a record"
        case ConfigValidationError():
            text = f"the configuration cannot be used: {'; '.join(error.errors)}"
        case ValueError() if type(error).__name__ == "JSONDecodeError":
            text = (
                f"a file given as --config, --catalog or --state is not JSON: {text}. An empty "
                "STATE is passed by leaving out --state; a .env is read with --config=ENV"
            )
        case FileNotFoundError():
            text += " Check the path"
        case IsADirectoryError():
            text = f"a folder is where a file is wanted: {error.filename}; check the path"
        case OSError():
            text = f"this machine refuses: {text}; check permissions and free space (TMPDIR)"
        case _:
            text = f"this should not happen: {type(error).__name__}: {text}"
    return text


def _is_of_stream_map(error: Exception) -> bool:
    """Tell whether an expression of the user's raised it: its text may show a value."""
    rooms = (frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__))
    return "singer_sdk.mapper" in rooms


def _suppress_sdk_notice(record: logging.LogRecord) -> bool:
    # The SDK says so of the environment variables that were read here.
    return not record.getMessage().startswith("Skipping parse of env var")


def _is_own(state: Any) -> bool:  # noqa: ANN401 - as JSON has it
    """Tell whether a STATE may be this tap's: bookmarks of the stream, each of a partition."""
    match state:
        case {"type": "STATE"} | {"bookmarks": {"events": {"replication_key_value": _}}}:
            return False
        case {"bookmarks": {"events": {"partitions": [*partitions]}}}:
            contexts = [p.get("context") if isinstance(p, dict) else None for p in partitions]
            return all(isinstance(c, dict) and set(c) == {"customer", "product"} for c in contexts)
        case {"bookmarks": {"events": {**events}}}:
            return "partitions" not in events
        case {"bookmarks": {**bookmarks}}:
            return not bookmarks
    return not state and isinstance(state, dict)


def _end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's arguments
    raise Interrupted(128 + signum)


def _ignored() -> set[int]:
    """Return the signals that the caller has it ignore, as nohup does; never SIGTERM."""
    return {n for n in SIGNALS if signal.getsignal(n) is signal.SIG_IGN} - {signal.SIGTERM}


def _handle_signals(handler: Callable[[int, FrameType | None], None], ignored: set[int]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else handler)
