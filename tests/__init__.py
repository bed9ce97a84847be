"""Tests of the tap, the emulator and the project, in folders that mirror the packages."""
