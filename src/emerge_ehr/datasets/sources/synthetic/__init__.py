"""SOURCE synthetic: a made-up intensive care unit in MIMIC-IV's and PrimeKG's file formats, in which the true risk is known."""

from emerge_ehr.datasets.sources.synthetic.options import Options
from emerge_ehr.datasets.sources.synthetic.source import build

__all__ = ["Options", "build"]
