"""Output: whole Singer messages on stdout, batch files, and the signals that end the tap."""
