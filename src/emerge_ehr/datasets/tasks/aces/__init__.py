"""Task aces: what an ACES task definition asks of a MEDS dataset."""

from emerge_ehr.datasets.tasks.aces.task import Options, build, predictions

__all__ = ["Options", "build", "predictions"]
