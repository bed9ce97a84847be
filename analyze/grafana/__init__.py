"""The Grafana dashboard: `panels` says what it shows, `dashboard` writes it."""
