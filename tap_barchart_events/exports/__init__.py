"""Windows in, finished export files out."""
