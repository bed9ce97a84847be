"""The tap in real pipelines: `meltano run` into a real PostgreSQL, and an emulated Snowflake."""
