"""The service's HTTP API: calls, downloads, retries."""
