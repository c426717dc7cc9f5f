"""Knowledge graph: PrimeKG."""

from emerge_ehr.graphs.primekg.graph import Options, build

__all__ = ["Options", "build"]
