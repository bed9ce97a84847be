"""The demos of pipelines, `make demo-meltano` and `make demo-postgres`, on one machine."""
