"""The command line: the files that its options name, exit codes, and the last line on stderr."""

import io
import json
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click
from singer_sdk.exceptions import ConfigValidationError, MappingError
from singer_sdk.plugin_base import SingerCommand

from tap_barchart_events.exceptions import BarchartEventsError, SettingError
from tap_barchart_events.output.signals import CLOSED, Interrupted, Signals, handle_signals
from tap_barchart_events.progress import at_terminal

ERRORS_OF_NAMES = {"NameNotDefined", "FunctionNotDefined"}
"""Errors of expressions whose text shows a name that the user wrote. The text of other errors may
show a value."""


HINTS = {
    "config": "to read a .env file, use --config=ENV",
    "catalog": "make one with --discover",
    "state": "if it has several lines, pass only the last, in a file of its own (tail -n 1)",
}
"""What to do about a file that is not a JSON object, by the option that names it."""


class Command(SingerCommand):
    """The command line; its last line on stderr says why it ended."""

    def __init__(self, command: click.Command, logger: logging.Logger) -> None:
        """Wrap the SDK's command; the files that its options name are checked."""
        for option in command.params:
            if option.name in HINTS:
                option.type = JsonFile()
                option.is_eager = True  # read before --test, which ends the command
        kept = ("name", "callback", "context_settings", "help", "params")
        super().__init__(**{name: getattr(command, name) for name in kept}, logger=logger)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command; exit with 0, 1 after an error, or 128 + a signal's number."""
        if sys.stdout is None:  # it was closed before the start
            sys.exit(CLOSED)
        handle_signals(Signals().handle)
        logging.captureWarnings(capture=True)
        if at_terminal():
            short = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
            logging.getLogger().handlers[0].setFormatter(short)
        try:
            try:
                return super().main(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the last line says what it is
                # Without the texts of errors: those of libraries show values.
                frames = "".join(traceback.format_tb(error.__traceback__))
                self.logger.debug("Traceback of the error:\n%s", frames)
                self.logger.error("%s", describe_error(error))  # noqa: TRY400 - no traceback
                code = 1
        except Interrupted as end:
            code = int(end.code or 0)
        # Python's exit would wait for threads that log to a stderr that nobody reads, let another
        # signal kill the process, and write again what stdout has not accepted.
        os._exit(code)

    invoke = click.Command.invoke  # the SDK's logs each error a second time


class JsonFile(click.ParamType):  # type: ignore[type-arg]  # not generic before 8.3
    """A file that must hold a JSON object; it is read and checked before anything else."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what the SDK expects: the path of a configuration, an open file otherwise.

        Raises:
            SettingError: It cannot be read, or does not hold a JSON object.
        """
        option = str(param and param.name)
        if option == "config" and value == "ENV":
            return value
        content, why = None, ""
        try:
            text = Path(value).read_text(encoding="utf-8")
            content = json.loads(text, parse_constant=int)  # no int can be read from NaN
        except (OSError, RecursionError, ValueError) as error:
            why = f": {getattr(error, 'strerror', error)}"
        if not isinstance(content, dict):
            name = "" if str(value).lstrip().startswith("{") else f" {str(value)!r}"
            raise SettingError(
                f"the file{name}, given as --{option}, is not a JSON object{why}; {HINTS[option]}"
            )
        return value if option == "config" else io.StringIO(text)


def describe_error(error: Exception) -> str:
    """Return the one sentence that says what failed and what to do."""
    text = str(error).partition("\n")[0]
    modules = {
        frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)
    }
    match error:
        case BarchartEventsError():
            return text
        case ConfigValidationError():
            return f"the configuration cannot be used: {'; '.join(error.errors)}"
        case MappingError():
            cause = error.__cause__
            reason = f" {cause}" if type(cause).__name__ in ERRORS_OF_NAMES else ""
            return f"setting stream_maps cannot be used: {text}{reason}"
        case _ if "singer_sdk.mapper" in modules:  # the text may show a value
            kind = type(error).__name__
            return f"setting stream_maps cannot be used: an expression raises {kind} for a record"
        case OSError():
            return f"operating system error: {text}; check permissions and free space (TMPDIR)"
    return f"unexpected {type(error).__name__}: {text}; report it with the log at the level DEBUG"
