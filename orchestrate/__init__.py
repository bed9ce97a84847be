"""The nightly run as one command; and large backfills under Dagster, in shards of history."""
