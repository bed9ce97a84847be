"""The tap beside other readers of the same export file: one command, one table."""
