"""Large backfills under Dagster: shards of history and a nightly run."""
