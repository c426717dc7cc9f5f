"""The items of MIMIC that are read: those of a list of signals (``signals/items``), with the words and units of their charts.

``chart`` items are ids of MetaVision (MIMIC-IV, and MIMIC-III from 2008) and of CareVue, the system before it (MIMIC-III only);
``lab`` items are those of ``d_labitems``, which are the same in both. The choice of the benchmark's follows its item map
(Harutyunyan et al. 2019) and MIT-LCP's mimic-code, with deliberate differences, which docs/measurements.md lists.
An intubated patient's verbal response ("No Response-ETT", "1.0 ET/Trach") scores 1, as the scale's "1T" convention has it.
"""

from functools import cache

import polars as pl

from emerge_ehr.signals import units
from emerge_ehr.signals.items import Wanted

# Units as the charts write them, to be compared with an item's own unit.
WRITTEN = (
    *(
        "mmHg",
        "bpm",
        "BPM",
        "insp/min",
        "%",
        "mg/dL",
        "units",
        "UNITS",
        "pH",
        "points",
        "kg",
        "cm",
        "Inch",
        "inches",
        "lbs",
    ),
    *("°F", "°C", "?F", "?C", "Deg. F", "Deg. C", "torr", "decFrc"),
    *("mEq/L", "mmol/L", "g/dL", "K/uL", "IU/L", "sec", "ng/mL", "mm Hg", "ml", "cmH2O"),
)

# Texts in the chart, in lower case, for rows whose number is blank: MetaVision's words, then CareVue's.
TEXT_SCORES = {
    "capillary_refill_rate": {
        "normal <3 seconds": 0,
        "abnormal >3 seconds": 1,
        "normal <3 secs": 0,
        "brisk": 0,
        "abnormal >3 secs": 1,
        "delayed": 1,
    },
    "gcs_eye": {
        "none": 1,
        "to pain": 2,
        "to speech": 3,
        "spontaneously": 4,
        "1 no response": 1,
        "2 to pain": 2,
        "3 to speech": 3,
        "4 spontaneously": 4,
    },
    "gcs_verbal": {
        "no response-ett": 1,
        "no response": 1,
        "incomprehensible sounds": 2,
        "inappropriate words": 3,
        "confused": 4,
        "oriented": 5,
        "1.0 et/trach": 1,
        "1 no response": 1,
        "2 incomp sounds": 2,
        "3 inapprop words": 3,
        "4 confused": 4,
        "5 oriented": 5,
    },
    "gcs_motor": {
        "no response": 1,
        "abnormal extension": 2,
        "abnormal flexion": 3,
        "flex-withdraws": 4,
        "localizes pain": 5,
        "obeys commands": 6,
        "1 no response": 1,
        "2 abnorm extensn": 2,
        "3 abnorm flexion": 3,
        "4 flex-withdraws": 4,
        "5 localizes pain": 5,
        "6 obeys commands": 6,
    },
}


def ids(read: Wanted) -> list[int]:
    """The items' ids, which are their names."""
    return sorted({int(item.name) for item in read.items})


def item_table(read: Wanted) -> pl.DataFrame:
    """The items as a table with ``itemid, code, scale, offset, rank``; of what is added up, the rank numbers the item."""
    rows = [(int(item.name), item.code, *item.factors, rank) for item, rank in read.ranked()]
    schema = {"itemid": pl.Int64, "code": pl.String, "scale": pl.Float64, "offset": pl.Float64, "rank": pl.UInt32}
    return pl.DataFrame(rows, schema=schema, orient="row")


@cache
def usual_units(read: Wanted) -> tuple[str, ...]:
    """``itemid<tab>unit`` of the units that are the item's own, as in ``WRITTEN``."""
    pairs = item_table(read).join(pl.DataFrame({"unit": WRITTEN}), how="cross")
    code, unit, known = pl.col("code"), pl.col("unit"), read.signals
    own = pairs.filter(
        (units.scale(code, unit, known) == pl.col("scale")) & (units.offset(code, unit, known) == pl.col("offset"))
    )
    return tuple(own.select(pl.concat_str("itemid", "unit", separator="\t")).to_series())


def score_table() -> pl.DataFrame:
    """``TEXT_SCORES`` as a table with ``code, text, score``."""
    rows = [(code, text, float(score)) for code, scores in TEXT_SCORES.items() for text, score in scores.items()]
    return pl.DataFrame(rows, schema={"code": pl.String, "text": pl.String, "score": pl.Float64}, orient="row")
