"""A made-up intensive care unit in MIMIC-IV's and PrimeKG's file formats, with a known true risk."""

from emerge_ehr.datasets.sources.synthetic.source import Options, build

__all__ = ["Options", "build"]
