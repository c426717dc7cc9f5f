"""Writes frames of pandas or Polars as the tables that ``predict`` reads.

A zone that a column of times states would be lost in the file, and with it the hours between its times and those of another
frame. So times in another zone than UTC are refused, as in files, and UTC beside times without a zone.
"""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import polars as pl

from emerge_ehr.fields import UserError
from emerge_ehr.storage.times import TIME_FORMAT

Frame = Any  # a pandas or a Polars DataFrame
UTC = ("UTC", "Etc/UTC", "UTC+00:00", "GMT")
REMEDY = "give all times by the hospital's own clock and without a zone"


def write(frames: Mapping[str, Frame], folder: Path) -> None:
    """Write each frame as the CSV of its name into ``folder``, with times as text to the second.

    Raises:
        UserError: one is no frame, or its times are of several zones, or in another than those of the others.
    """
    zones = {
        f"{name}: {column}": zone for name, frame in frames.items() for column, zone in _zones(name, frame).items()
    }
    if other := next((place for place, zone in zones.items() if zone not in ("", *UTC)), None):
        raise UserError(f"{other} is in the time zone {zones[other]}, which is not read; {REMEDY}")
    stated, bare = (
        next((place for place, zone in zones.items() if bool(zone) is zoned), None) for zoned in (True, False)
    )
    if stated and bare:
        raise UserError(f"{stated} is in the time zone {zones[stated]}, and {bare} in none; {REMEDY}")
    for name, frame in frames.items():
        path = folder / f"{name}.csv"
        if is_pandas(frame):
            frame.to_csv(path, index=False, date_format=TIME_FORMAT)
        else:
            frame.write_csv(path, datetime_format=TIME_FORMAT)


def is_pandas(frame: Frame) -> bool:
    """Whether it is of pandas, which need not be installed."""
    return type(frame).__module__.partition(".")[0] == "pandas"


def _zones(name: str, frame: Frame) -> dict[str, str]:
    """The columns of times, each with its zone; "" for none. Texts are none: the reader knows what zone they state.

    Raises:
        UserError: it is no frame, or a column has times of several zones.
    """
    if isinstance(frame, pl.DataFrame):
        kinds = frame.schema.items()
        return {column: kind.time_zone or "" for column, kind in kinds if isinstance(kind, pl.Datetime)}
    if not is_pandas(frame):
        kind = cast("type", type(frame)).__name__
        raise UserError(f"predict: '{name}' is a {kind}; give a pandas or Polars DataFrame")
    return {str(column): zone for column in frame.columns if (zone := _zone(name, frame[column])) is not None}


def _zone(name: str, column: Any) -> str | None:
    """The zone of a column of pandas, "" for times without one; None where it has no times.

    Raises:
        UserError: its times are of several zones, as those of a column of objects may be.
    """
    if column.dtype.kind == "M":
        kind = getattr(column.dtype, "pyarrow_dtype", column.dtype)
        return str(getattr(kind, "tz", None) or "")
    if column.dtype != object:
        return None
    zones: dict[str, str] = {}
    for row, value in enumerate(column):
        if (
            isinstance(value, datetime.datetime)
            and (zone := str(value.tzinfo or "")) not in zones
            and str(value) != "NaT"
        ):
            zones[zone] = f"row {row}: {value}"
    if len(zones) > 1:
        shown = " and ".join(
            f"in {zone or 'none'} ({example})" for zone, example in sorted(zones.items(), reverse=True)[:2]
        )
        raise UserError(f"{name}: {column.name} has times in several time zones, {shown}; {REMEDY}")
    return next(iter(zones), None)
