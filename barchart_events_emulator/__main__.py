"""The command ``barchart-events-emulator``: the emulator as a process of its own."""

import argparse
import errno
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from barchart_events_emulator.emulator import Emulator
from barchart_events_emulator.faults import KINDS
from barchart_events_emulator.faulty_transport import RequestSeen
from barchart_events_emulator.options import Options
from barchart_events_emulator.service import wall_clock
from tap_barchart_events.windows import HOUR, from_iso, to_iso

TRIAL_DAYS = 3
"""How long before the emulator's time a trial of the tap begins."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator until SIGTERM or SIGINT; return the exit code.

    When it is ready it prints one line of JSON with ``api_url`` and ``storage_url``.
    """
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    faults, now = options.pop("fault"), options.pop("now")
    if options.pop("verbose"):
        options["answered"] = _show
    env_file: Path | None = options.pop("env_file")
    if env_file and env_file.exists():
        parser.error(f"{env_file} exists; remove it, or name another file with --env-file")
    try:
        emulator = Emulator(**options)
        for call, kind, settings in faults:
            emulator.fault(call, kind, **settings)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    if now is not None:
        emulator.advance(milliseconds=now - wall_clock())
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        with emulator:
            _announce(emulator, env_file)
            stopped.wait()
    except OSError as error:
        in_use = "could not listen: the port is in use; end the other emulator, or set --port"
        other = f"could not listen, or write --env-file: {error}"
        reason = in_use if error.errno == errno.EADDRINUSE else other
        parser.exit(1, f"{parser.prog}: {reason}\n")
    return 0


def _announce(emulator: Emulator, env_file: Path | None) -> None:
    """Write the settings; print the line that scripts wait for, and what a person does next."""
    if env_file:
        env_file.write_text(_settings(emulator), encoding="utf-8")
    ready = {"api_url": emulator.api_url, "storage_url": emulator.storage_url}
    print(json.dumps(ready), flush=True)  # noqa: T201 - scripts wait for this line
    written = f", with settings of the tap in {env_file}" if env_file else ""
    sys.stderr.write(
        f"The emulated service runs at {emulator.api_url}{written}. Run the tap in a second "
        "terminal; Ctrl-C ends the emulator.\n"
    )


def _show(seen: RequestSeen) -> None:
    """Write a line about a request and its response."""
    what = [time.strftime("%H:%M:%S"), seen.call or "unknown", seen.method, seen.path]
    if seen.call == "start" and isinstance(seen.body, dict):
        what.append(json.dumps(seen.body.get("filter")))
    fault = f" (fault {seen.fault.kind})" if seen.fault else ""
    sys.stderr.write(f"{' '.join(what)} -> {seen.status or 'no response'}{fault}\n")


def _settings(emulator: Emulator) -> str:
    """Return settings of the tap for a trial with the emulator, as lines of a ``.env``."""
    settings = {
        "API_URL": emulator.api_url,
        "USERNAME": emulator.username,
        "PASSWORD": emulator.password,
        "CUSTOMER": "TGAM",
        "PRODUCTS": '["WATCHLIST","PORTFOLIO"]',
        "START_DATE": to_iso(emulator.clock() - TRIAL_DAYS * 24 * HOUR)[:10],
    }
    lines = [f"TAP_BARCHART_EVENTS_{name}='{value}'" for name, value in settings.items()]
    return "\n".join(["# Settings of the tap for the emulator on this machine.", *lines, ""])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="barchart-events-emulator",
        usage="%(prog)s [options]",
        description="An emulator of the Barchart Event Tracking System on loopback (127.0.0.1), "
        "for tests, demonstrations and benchmarks.",
        epilog=_faults_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="port of the API (a free one)")
    parser.add_argument(
        "--storage-port", type=int, default=0, help="port of object storage (a free one)"
    )
    parser.add_argument(
        "--env-file",
        type=Path,
        metavar="PATH",
        help="write settings of the tap for this emulator to a new file, such as .env",
    )
    parser.add_argument("--verbose", action="store_true", help="write a line for each request")
    parser.add_argument("--username", default=Emulator.username, help="(%(default)s)")
    parser.add_argument("--password", default=Emulator.password, help="(%(default)s)")
    parser.add_argument(
        "--now", type=from_iso, help="the service's time at the start, ISO 8601; then it runs on"
    )
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="FAULT",
        help="arm a fault, CALL:KIND:NAME=VALUE..., e.g. "
        "poll:status:code=503:times=2:after=1:every=3; times=null for always; may be repeated",
    )
    _add_options(parser)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each option of the emulator that has a help text."""
    kinds = {"int": int, "float": float, "str": _text}
    for one in fields(Options):
        if "help" not in one.metadata:
            continue
        default: Any = one.default
        options: dict[str, Any] = {"default": default, "help": one.metadata["help"]}
        kind = str(one.type).removesuffix(" | None")
        if kind == "bool":
            options["action"] = argparse.BooleanOptionalAction
            options["help"] += {True: " (yes)", False: " (no)", None: ""}[default]
        else:
            options["type"] = kinds[kind]
            options["choices"] = one.metadata["choices"]
            options["metavar"] = kind.upper()
            if one.metadata["choices"]:
                options["help"] += ": " + ", ".join(map(repr, one.metadata["choices"]))
            options["help"] += " (%(default)r)" if default is not None else ""
        parser.add_argument("--" + one.name.replace("_", "-"), **options)


def _faults_text() -> str:
    lines = ["faults by call:"]
    for call, kinds in KINDS.items():
        lines.append(f"  {call}: {', '.join(kinds)}")
    described = {name: kind for kinds in KINDS.values() for name, kind in kinds.items()}
    lines.append("kinds of faults, and their details with defaults (n: a detail's value):")
    for name, kind in described.items():
        details = "".join(f":{key}={value!r}" for key, value in kind.details.items())
        lines.append(f"  {name}{details}: {kind.meaning}")
    return "\n".join(lines)


def _text(value: str) -> str:
    r"""Read ``\n`` and ``\r`` as the characters they stand for."""
    return value.replace("\\r", "\r").replace("\\n", "\n")


def _fault(value: str) -> tuple[str, str, dict[str, Any]]:
    call, kind, *settings = value.split(":")
    named = dict(setting.split("=", 1) for setting in settings)
    return call, kind, {name: _literal(text) for name, text in named.items()}


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
