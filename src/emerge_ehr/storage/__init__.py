"""Everything that is written: its schema, its readers and writers, and whether it is stale."""
