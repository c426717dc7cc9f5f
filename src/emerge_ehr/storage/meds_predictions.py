"""Predictions as the MEDS evaluation schema has them, so that ``meds-evaluation`` can score them.

The ids of samples at prediction times say which person they are of, and when (``sample_id``).
"""

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

SAMPLE = r"^(-?\d+)-(\d{8}T\d{6}(?:\.\d{6})?)$"
SECONDS = "%Y%m%dT%H%M%S"


def sample_id() -> pl.Expr:
    """The id of the sample of ``subject_id`` at ``prediction_time``, with its fraction of a second if it has one.

    >>> time = pl.datetime(2150, 1, 2, 8, microsecond=pl.Series([0, 500]))
    >>> rows = pl.DataFrame({"subject_id": [7, 7]}).with_columns(prediction_time=time)
    >>> rows.select(sample_id()).to_series().to_list()
    ['7-21500102T080000', '7-21500102T080000.000500']
    """
    time = pl.col("prediction_time")
    fraction = pl.when(time.dt.microsecond() > 0).then(pl.format(".{}", time.dt.strftime("%6f"))).otherwise(pl.lit(""))
    return pl.format("{}-{}{}", "subject_id", time.dt.strftime(SECONDS), fraction)


def table(
    patient_id: Sequence[str], probability: Sequence[float], above: Sequence[bool], label: Sequence[float | None] | None
) -> pl.DataFrame | None:
    """``subject_id, prediction_time, boolean_value, predicted_boolean_value, predicted_boolean_probability``; None where an id is
    none of ``sample_id``.

    ``label``: 1, 0 or None, which is left out; without labels the column ``boolean_value`` is missing. Probabilities are in
    single precision, as the schema has them.
    """
    rows = pl.DataFrame(
        {
            "patient_id": patient_id,
            "predicted_boolean_value": above,
            "predicted_boolean_probability": probability,
            **({} if label is None else {"boolean_value": label}),
        },
        schema_overrides={"patient_id": pl.String, "predicted_boolean_probability": pl.Float32},
    )
    parts = pl.col("patient_id").str.extract_groups(SAMPLE).struct
    time = pl.concat_str(
        [parts.field("2"), pl.when(~parts.field("2").str.contains(".", literal=True)).then(pl.lit(".0"))],
        ignore_nulls=True,
    )
    rows = rows.with_columns(
        parts.field("1").cast(pl.Int64, strict=False).alias("subject_id"),
        time.str.to_datetime(f"{SECONDS}%.f", time_unit="us", strict=False).alias("prediction_time"),
    )
    if rows.select("subject_id", "prediction_time").null_count().sum_horizontal().item():
        return None
    labelled = [] if label is None else ["boolean_value"]
    rows = rows.drop_nulls(labelled).with_columns(pl.col(name).cast(pl.Boolean) for name in labelled)
    return rows.select(
        "subject_id", "prediction_time", *labelled, "predicted_boolean_value", "predicted_boolean_probability"
    )


def write(rows: pl.DataFrame, path: Path) -> None:
    """Write the file; Python does, and reports a full disk as for any other file."""
    written = io.BytesIO()
    rows.write_parquet(written)
    path.write_bytes(written.getbuffer())
