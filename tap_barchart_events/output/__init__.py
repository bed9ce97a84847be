"""Standard output: whole Singer messages, and the signals that end them."""
