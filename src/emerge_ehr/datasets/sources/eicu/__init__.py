"""Source: the eICU Collaborative Research Database."""

from emerge_ehr.datasets.sources.eicu.source import Options, build

__all__ = ["Options", "build"]
