"""Backfills that outgrow one machine: shards of history and a nightly run, under Dagster."""
