"""What analysts put on top of the marts: a Grafana dashboard."""
