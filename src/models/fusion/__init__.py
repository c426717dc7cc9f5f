"""Socket: EHR and text into one vector; a plug's ``build(options, *, hidden_size, heads)`` makes a ``Fusion``."""

from typing import NamedTuple, Protocol

from torch import Tensor


class Modality(NamedTuple):
    """One representation of a patient and the L tokens to attend to: the hours, or the texts and their fusion."""

    representation: Tensor  # [N,H]
    tokens: Tensor  # [N,L,H]
    present: Tensor  # [N,L] bool: an hour before the patient's length; a text that the patient has


class Fusion(Protocol):
    """Fuses the two modalities; a token that is not present must not change anything."""

    def __call__(self, ehr: Modality, text: Modality) -> Tensor:
        """EHR, text -> [N,H]."""
        ...
