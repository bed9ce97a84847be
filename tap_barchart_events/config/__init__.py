"""What users set: names, types, bounds, and how values are read."""
