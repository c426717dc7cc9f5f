"""TensorBoard event files in ``<run folder>/tensorboard``; they hold the time of day, so they differ from run to run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from emerge_ehr.training.checkpoints import Epoch
from emerge_ehr.training.loggers import flat, numbers


@final
@dataclass(frozen=True)
class TensorBoard:
    """The writer of one run's event files."""

    writer: Any

    def epoch(self, row: Epoch) -> None:
        """Write each number of the epoch as a scalar, at the epoch's step."""
        for name, value in numbers(row).items():
            self.writer.add_scalar(name, value, row.epoch)
        self.writer.flush()

    def abandon(self) -> None:
        """Close the files; what was written stays."""
        self.writer.close()

    def close(self, metrics: Mapping[str, float]) -> None:
        """Write the final metrics as scalars at step 0, and close the files."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, 0)
        self.writer.close()


def build(run_dir: Path, run_name: str, settings: Mapping[str, Any]) -> TensorBoard:
    """A writer for ``run_dir``, which starts by writing the config to TensorBoard's text tab."""
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(run_dir / "tensorboard")
    writer.add_text("config", "\n\n".join(f"{key} = {value}" for key, value in flat(settings).items()))
    return TensorBoard(writer)
