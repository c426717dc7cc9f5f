"""Checks the text of LightGBM's trees before LightGBM reads it.

A damaged or forged text could crash the process, or make it read memory outside the trees.
"""

import math
import re
from collections.abc import Mapping

HEADER = {"version": "v4", "num_class": "1", "num_tree_per_iteration": "1", "objective": "binary sigmoid:1"}
INTEGERS = re.compile(r"-?\d{1,9}( -?\d{1,9})*")
NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?|[-+]?inf")
CATEGORICAL = 1  # the bit of a split's type that marks a categorical split; our features are all numbers


def require_sound(text: str) -> None:
    """Check that ``text`` is what ``Booster.model_to_string`` writes for one binary label and numeric features.

    Raises:
        ValueError: the text is something else, or a tree in it is damaged.
    """
    head, _, body = text.partition("\n\n")
    header = _fields(head)
    if not text.isascii() or any(header.get(key) != value for key, value in HEADER.items()):
        raise ValueError("not the text of LightGBM's trees for one label")
    features = _integers(header, "max_feature_idx")[0] + 1
    start = 0
    for number, size in enumerate(_integers(header, "tree_sizes") if header.get("tree_sizes") else []):
        tree = body[start : start + size]
        if not tree.startswith(f"Tree={number}\n"):
            raise ValueError(f"tree {number} does not begin where it should")
        _require_tree(_fields(tree.strip()), number, features)
        start += size
    if not body[start:].startswith("end of trees\n"):
        raise ValueError("the trees do not end where they should")


def _require_tree(tree: Mapping[str, str], number: int, features: int) -> None:
    """Check that a tree with n leaves has n - 1 splits, and that every leaf and every split but the first has one parent.

    The parent of a split must come before it, so that the tree has no cycle.
    """
    leaves = _integers(tree, "num_leaves")[0]
    sound = leaves > 0 and tree.get("num_cat") == "0" and tree.get("is_linear") == "0"
    sound = sound and len(_numbers(tree, "leaf_value")) == leaves
    if sound and leaves > 1:
        children = [_integers(tree, key) for key in ("left_child", "right_child")]
        all_children = sorted(children[0] + children[1])
        sound = (
            {len(side) for side in children} == {leaves - 1}
            and all_children == [*range(-leaves, 0), *range(1, leaves - 1)]
            and all(child < 0 or child > split for side in children for split, child in enumerate(side))
            and len(_numbers(tree, "threshold")) == leaves - 1
            and len(_integers(tree, "split_feature")) == leaves - 1
            and len(_integers(tree, "decision_type")) == leaves - 1
            and all(0 <= feature < features for feature in _integers(tree, "split_feature"))
            and not any(kind & CATEGORICAL for kind in _integers(tree, "decision_type"))
        )
    if not sound:
        raise ValueError(f"tree {number} is damaged")


def _fields(block: str) -> dict[str, str]:
    lines = [line.partition("=") for line in block.splitlines()]
    fields = {key: value for key, _, value in lines}
    if len(fields) < len(lines):
        raise ValueError("a line is repeated")
    return fields


def _integers(block: Mapping[str, str], key: str) -> list[int]:
    value = block.get(key, "")
    if not INTEGERS.fullmatch(value):
        raise ValueError(f"{key} is damaged")
    return [int(part) for part in value.split(" ")]


def _numbers(block: Mapping[str, str], key: str) -> list[float]:
    parts = block.get(key, "").split(" ")
    if not all(NUMBER.fullmatch(part) for part in parts) or any(math.isnan(float(part)) for part in parts):
        raise ValueError(f"{key} is damaged")
    return [float(part) for part in parts]
