"""Source: a MEDS dataset."""

from emerge_ehr.datasets.sources.meds.source import Options, build

__all__ = ["Options", "build"]
