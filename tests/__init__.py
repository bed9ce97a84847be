"""Tests of the tap: a file for each room, and for what the rooms do together."""
