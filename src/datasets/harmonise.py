"""Makes measurements comparable: canonical units; implausible values and duplicates dropped and counted."""

import polars as pl

from src.datasets.signals import SIGNALS
from src.datasets.sources import Extract

MEASUREMENT = ("patient_id", "event_time", "code", "value")


def canonical(events: pl.DataFrame) -> Extract:
    """``patient_id, event_time, code, value`` in ``signals`` units, from values already scaled to the signal's unit.

    A fraction of inspired oxygen above 1 was charted in percent. The GCS total is the sum of the three parts charted at the
    same time. Dropped and counted: no number, outside the plausible range, charted twice.
    """
    percent = (pl.col("code") == "fraction_inspired_oxygen") & (pl.col("value") > 1)
    events = events.select(MEASUREMENT).with_columns(
        pl.when(percent).then(pl.col("value") / 100).otherwise(pl.col("value")).alias("value")
    )
    counts = {"no number": events["value"].null_count()}
    events = events.drop_nulls("value").with_columns(pl.col("value").round(4))
    bounds = pl.DataFrame(
        {
            "code": [s.name for s in SIGNALS],
            "low": [float(s.plausible[0]) for s in SIGNALS],
            "high": [float(s.plausible[1]) for s in SIGNALS],
        }
    )
    events = events.join(bounds, on="code", how="inner")
    plausible = pl.col("value").is_between(pl.col("low"), pl.col("high"))
    dropped = events.filter(~plausible).group_by("code").len().sort("code")
    counts |= {f"implausible {code}": count for code, count in dropped.rows()}
    kept = events.filter(plausible).select(MEASUREMENT)
    unique = kept.unique()
    counts["charted twice"] = kept.height - unique.height
    return Extract(
        pl.concat([unique, gcs_total(unique)]).sort(MEASUREMENT), {reason: n for reason, n in counts.items() if n}
    )


def gcs_total(events: pl.DataFrame) -> pl.DataFrame:
    """GCS totals where eye, motor and verbal were charted together (the highest of each if charted more than once).

    >>> rows = [("a", 1, "gcs_eye", 4.0), ("a", 1, "gcs_motor", 6.0), ("a", 1, "gcs_verbal", 5.0), ("a", 2, "gcs_eye", 3.0)]
    >>> gcs_total(pl.DataFrame(rows, schema=list(MEASUREMENT), orient="row")).rows()
    [('a', 1, 'gcs_total', 15.0)]
    """
    parts = events.filter(pl.col("code").is_in(["gcs_eye", "gcs_motor", "gcs_verbal"]))
    best = parts.group_by("patient_id", "event_time", "code").agg(pl.col("value").max())
    sums = best.group_by("patient_id", "event_time").agg(pl.len().alias("parts"), pl.col("value").sum())
    total = sums.filter(pl.col("parts") == 3).with_columns(pl.lit("gcs_total").alias("code"))
    return total.select(MEASUREMENT).with_columns(pl.col("value").cast(events.schema["value"]))
