"""The Barchart Event Tracking System on loopback, for demo, tests and benchmarks."""

from tap_barchart_events.emulator.faults import KINDS, Fault
from tap_barchart_events.emulator.generator import Event
from tap_barchart_events.emulator.jobs import Job
from tap_barchart_events.emulator.service import Emulator
from tap_barchart_events.emulator.switches import Switches
from tap_barchart_events.emulator.wire import RequestSeen

__all__ = ["KINDS", "Emulator", "Event", "Fault", "Job", "RequestSeen", "Switches"]
