"""Reads a person's sex as tables and raw files write it."""

import polars as pl

SEXES = {"f": "F", "female": "F", "vrouw": "F", "m": "M", "male": "M", "man": "M"}


def known_sex(sex: pl.Expr) -> pl.Expr:
    """``F`` or ``M`` of the letter or the English or Dutch word in any case; null for anything else.

    >>> pl.DataFrame({"sex": ["f", " Male ", "M", "X", None]}).select(known_sex(pl.col("sex"))).to_series().to_list()
    ['F', 'M', 'M', None, None]
    """
    return sex.str.strip_chars().str.to_lowercase().replace_strict(SEXES, default=None, return_dtype=pl.String)
