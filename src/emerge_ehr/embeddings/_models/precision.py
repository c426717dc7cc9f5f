"""Where a language model runs, and in which number format."""

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
    """A device and a floating-point type, by PyTorch's names."""

    device: str
    precision: str

    def dtype(self) -> "torch.dtype":
        """PyTorch's type of that name."""
        import torch

        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
        return dtypes[self.precision]

    def device_here(self) -> str:
        """The device; or the CPU, where the models run elsewhere and this process only asks for a model's sizes."""
        return self.device if _present()[self.device] else "cpu"


def choose(device: Device, precision: Precision) -> Placement:
    """``auto``: the accelerator there is, in bfloat16 (float16 where it has none); float32 on a CPU.

    Raises:
        UserError: there is no such device here.
    """
    import torch

    present = _present()
    chosen = next(name for name in ("cuda", "mps", "cpu") if present[name]) if device == "auto" else device
    if not present[chosen]:
        raise UserError(f'embedding: device = "{chosen}": there is none here; "auto" takes what there is')
    if precision != "auto":
        return Placement(chosen, precision)
    if chosen == "cpu":
        return Placement(chosen, "float32")
    return Placement(chosen, "bfloat16" if chosen == "cuda" and torch.cuda.is_bf16_supported() else "float16")


def choose_in(pool: Pool, device: Device, precision: Precision) -> Placement:
    """As ``choose`` has it where ``pool`` runs models.

    Raises:
        UserError: there is no such device there.
    """
    return pool.where_models_run(partial(choose, device, precision))


def _present() -> dict[str, bool]:
    import torch

    return {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
