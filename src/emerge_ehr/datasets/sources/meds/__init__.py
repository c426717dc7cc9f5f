"""Source: a MEDS dataset."""

from emerge_ehr.datasets.sources.meds.options import Options
from emerge_ehr.datasets.sources.meds.source import build

__all__ = ["Options", "build"]
