"""Tests of whole runs of the tap."""
