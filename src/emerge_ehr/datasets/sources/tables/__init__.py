"""Source: a user's own tables in the OneEHR layout."""

from emerge_ehr.datasets.sources.tables.source import Options, OwnTables, build, of_run
from emerge_ehr.datasets.sources.tables.treatments import treatments

__all__ = ["Options", "OwnTables", "build", "of_run", "treatments"]
