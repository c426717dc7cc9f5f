"""Source: tables of the OMOP common data model."""

from emerge_ehr.datasets.sources.omop.options import Options
from emerge_ehr.datasets.sources.omop.source import build

__all__ = ["Options", "build"]
