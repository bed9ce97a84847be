"""The demo, `make demo`: the emulator's events into a target, on one machine."""
