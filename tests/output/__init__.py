"""Tests of standard output and of signals."""
