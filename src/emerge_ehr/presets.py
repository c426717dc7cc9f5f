"""Settings that belong together: ``[method] preset`` makes them the defaults of a config."""

from collections.abc import Mapping
from typing import Any

# Of the public code of the first version (Zhu et al. 2024): learning rate, epochs, patience and batch size as its configuration
# has them; AdamW with its own weight decay; no clipping, for which a bound stands that no gradient reaches. The text fusion is
# the code's default. One network is trained for the task at hand, as there.
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "model": {
        "relevance": False,
        "experts": [],
        "plain": True,
        "modality_dropout": 0.0,
        "text_fusion": "concat",
        "fusion": "published",
    },
    "training": {
        "members": 1,
        "selection": "auroc",
        "learning_rate": 1e-4,
        "weight_decay": 1e-2,
        "gradient_clip": 1e6,
        "batch_size": 256,
        "max_epochs": 100,
        "patience": 10,
    },
}
PRESETS = {"published": PUBLISHED}


def applied(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a config with those of the preset that it names, where it does not say otherwise itself."""
    method = raw.get("method")
    preset = method.get("preset") if isinstance(method, dict) else None
    filled = dict(raw)
    for section, values in PRESETS.get(preset if isinstance(preset, str) else "", {}).items():
        own = raw.get(section, {})
        filled[section] = {**values, **own} if isinstance(own, dict) else own
    return filled
