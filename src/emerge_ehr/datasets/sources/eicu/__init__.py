"""Source: the eICU Collaborative Research Database."""

from emerge_ehr.datasets.sources.eicu.source import Options, build, treatments

__all__ = ["Options", "build", "treatments"]
