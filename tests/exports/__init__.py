"""Tests of windows, jobs and their order."""
