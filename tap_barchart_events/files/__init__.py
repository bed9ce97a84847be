"""An export file → events."""
