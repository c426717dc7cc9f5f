"""The columns, lab names and chart cells of eICU that are read: the items of a list of signals, and scores in words.

Names and units are those of the documented tables (https://eicu-crd.mit.edu/eicutables) and of the concepts in MIT-LCP/eicu-code
and ricu; ``docs/source_eicu_columns.md`` says where we differ and why. The monitor's ``sao2`` is pulse oximetry. Capillary
refill is not in these tables. Fahrenheit cells are converted; the monitor's temperature is documented in Celsius, so a value in
another unit falls outside the plausible range. A cell of the nurses' chart is an item ``label|cell``.
"""

from collections.abc import Mapping

import polars as pl

from emerge_ehr.signals.items import Wanted


def codes_of_columns(read: Wanted) -> Mapping[str, str]:
    """Column -> signal, of tables that have a column per signal."""
    return {item.name: item.code for item in read.items}


def item_table(read: Wanted, name: str = "item") -> pl.DataFrame:
    """The items with ``name`` (in lower case), ``code, scale, offset, rank``; of what is added up, ``rank`` numbers it."""
    rows = [(item.name.lower(), item.code, *item.factors, rank) for item, rank in read.ranked()]
    text, number = dict.fromkeys((name, "code"), pl.String), dict.fromkeys(("scale", "offset"), pl.Float64)
    return pl.DataFrame(rows, schema={**text, **number, "rank": pl.UInt32}, orient="row")


# Some hospitals write the score before its meaning, "6-->(M6) obeys commands"; others write the meaning alone.
# An intubated patient's verbal response scores 1, as in the MIMIC items.
LEADING_SCORE = r"^\s*([1-6])\s*-->"
WORDED_SCORES = {
    "gcs_motor": {
        "flaccid": 1,
        "abnormal extension": 2,
        "abnormal flexion": 3,
        "withdraws": 4,
        "localizes to noxious stimuli": 5,
        "obeys simple commands": 6,
    },
    "gcs_verbal": {
        "none": 1,
        "clearly unresponsive": 1,
        "trached or intubated": 1,
        "incomprehensible sounds": 2,
        "inappropriate words": 3,
        "confused": 4,
        "oriented": 5,
        "orientation/ability to communicate questionable": 5,
        "clearly oriented/can indicate needs": 5,
    },
}


def score_table() -> pl.DataFrame:
    """``WORDED_SCORES`` as a table with ``code, text, score``."""
    rows = [(code, text, float(score)) for code, scores in WORDED_SCORES.items() for text, score in scores.items()]
    return pl.DataFrame(rows, schema={"code": pl.String, "text": pl.String, "score": pl.Float64}, orient="row")
