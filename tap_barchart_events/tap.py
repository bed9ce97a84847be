"""The tap: settings, discovery, command line. What a user meets first and last."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import click
from dotenv import dotenv_values, find_dotenv
from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.plugin_base import SingerCommand

from tap_barchart_events.exceptions import BarchartEventsError, SettingError
from tap_barchart_events.output import SIGNALS, Interrupted, MessageWriter
from tap_barchart_events.settings import CONFIG_JSONSCHEMA, Settings
from tap_barchart_events.streams import EventsStream
from tap_barchart_events.values import from_environment

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
        values = dict(config or {})
        if parse_env_config:
            self.append_builtin_config(self.config_jsonschema)
            environment = {**dotenv_values(find_dotenv(usecwd=True)), **os.environ}
            values |= from_environment(self.config_jsonschema["properties"], environment)
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

    def discover_streams(self) -> Sequence[EventsStream]:
        """Return the one stream; its columns are those of the configured products."""
        return [EventsStream(self)]

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
        _handle_signals(_end, _ignored())
        try:
            return super().main(*args, **kwargs)
        except Exception as error:
            self.logger.debug("Where it happened:", exc_info=error)
            self.logger.error("%s", _sentence(error))  # noqa: TRY400 - no traceback
        _give_up_stdout()
        sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own
        """Run the callback, with warnings going to the log."""
        logging.captureWarnings(capture=True)
        return click.Command.invoke(self, ctx)


def _give_up_stdout() -> None:
    """Drop what stdout cannot take: Python would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentence(error: Exception) -> str:
    match error:
        case BarchartEventsError():
            return str(error)
        case ConfigValidationError():
            return f"the configuration cannot be used: {'; '.join(error.errors)}"
        case ValueError() if type(error).__name__ == "JSONDecodeError":
            return f"a file given on the command line is not JSON: {error}"
        case FileNotFoundError():
            return f"{error} Check the path"
        case OSError():
            return f"this machine refuses: {error}; check permissions and free space (TMPDIR)"
        case _:
            return f"this should not happen: {type(error).__name__}: {error}"


def _end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's arguments
    raise Interrupted(128 + signum)


def _ignored() -> set[int]:
    """Return the signals that the caller has it ignore, as nohup does; never SIGTERM."""
    return {n for n in SIGNALS if signal.getsignal(n) is signal.SIG_IGN} - {signal.SIGTERM}


def _handle_signals(handler: Callable[[int, FrameType | None], None], ignored: set[int]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else handler)
