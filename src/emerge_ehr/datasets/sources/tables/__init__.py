"""Source: a user's own tables in the OneEHR layout."""

from emerge_ehr.datasets.sources.tables.source import Options, OwnTables, build, of_run

__all__ = ["Options", "OwnTables", "build", "of_run"]
