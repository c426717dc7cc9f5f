"""Knowledge graph: PrimeKG."""

from emerge_ehr.graphs.primekg.graph import Options, build, write_copy

__all__ = ["Options", "build", "write_copy"]
