"""Chooses the device and the number format for a language model."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from emerge_ehr.compute.work import Pool
from emerge_ehr.fields import UserError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Placement:
    """A device and a floating-point type, under the names that PyTorch gives them."""

    device: str
    precision: str

    def dtype(self) -> "torch.dtype":
        """The floating-point type as PyTorch's object."""
        import torch

        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
        return dtypes[self.precision]

    def device_here(self) -> str:
        """The device, or the CPU if this process lacks the device: models then run elsewhere, and here only sizes are read."""
        return self.device if _present()[self.device] else "cpu"


def choose(device: Device, precision: Precision) -> Placement:
    """The placement in this process. ``auto`` chooses an accelerator, if there is one, with bfloat16, or float16 where the
    accelerator lacks it; otherwise the CPU with float32.

    Raises:
        UserError: the device does not exist here.
    """
    import torch

    present = _present()
    chosen = next(name for name in ("cuda", "mps", "cpu") if present[name]) if device == "auto" else device
    if not present[chosen]:
        raise UserError(f'embedding: device = "{chosen}": there is none here; set device = "auto" to use what there is')
    if precision != "auto":
        return Placement(chosen, precision)
    if chosen == "cpu":
        return Placement(chosen, "float32")
    return Placement(chosen, "bfloat16" if chosen == "cuda" and torch.cuda.is_bf16_supported() else "float16")


def choose_in(pool: Pool, device: Device, precision: Precision) -> Placement:
    """The placement where ``pool`` runs models, as ``choose`` chooses it there.

    Raises:
        UserError: the device does not exist there.
    """
    return pool.where_models_run(partial(choose, device, precision))


def _present() -> dict[str, bool]:
    import torch

    return {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
