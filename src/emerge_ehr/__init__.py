"""EMERGE (Zhu et al., CIKM 2024): outcomes of intensive care from time series, clinical notes and a knowledge graph.

What a program can call is in ``interface``; its names are names of the package too: ``emerge_ehr.load``, ``emerge_ehr.run``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emerge_ehr.fields import UserError
    from emerge_ehr.interface import Model, arrays, load, records, run

__all__ = ["Model", "UserError", "arrays", "load", "records", "run"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the command line needs none of it to answer ``--help``."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    home = importlib.import_module("emerge_ehr.fields" if name == "UserError" else "emerge_ehr.interface")
    return getattr(home, name)
