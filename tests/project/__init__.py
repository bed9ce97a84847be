"""Tests of docs, metadata and rules of the project."""
