"""Tests of the calls of the service's API."""
