"""The Barchart Event Tracking System on loopback, for demo, tests and benchmarks."""

import signal
import sys
from pathlib import Path

try:
    # The commands of the package import it before their first line.
    _commands = {"-m", "barchart-events-demo", "barchart-events-emulator"}
    _is_command = Path(sys.argv[0]).stem in _commands
    if _is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Ctrl-C must show no traceback during the imports, which take half a second.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from barchart_events_emulator.emulator import Emulator
except ModuleNotFoundError as error:
    message = (
        f"the emulator needs {str(error.name).partition('.')[0]}, which the extra emulator of "
        "tap-barchart-events brings: install '.[emulator]' instead of '.'"
    )
    if _is_command:
        sys.exit(message)
    raise ModuleNotFoundError(message, name=error.name) from error
from barchart_events_emulator.faults import KINDS, Fault
from barchart_events_emulator.faulty_transport import RequestSeen
from barchart_events_emulator.generator import Event
from barchart_events_emulator.jobs import ExportJob
from barchart_events_emulator.options import Options
from barchart_events_emulator.service import StartedWindow

__all__ = [
    "KINDS",
    "Emulator",
    "Event",
    "ExportJob",
    "Fault",
    "Options",
    "RequestSeen",
    "StartedWindow",
]
