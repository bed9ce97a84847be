"""The events of an export file."""
