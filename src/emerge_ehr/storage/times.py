"""Parses times as tables and raw files write them. Everything that reads a time from text reads it here."""

import datetime

import polars as pl

from emerge_ehr.storage.zones import LENGTH, ZERO_OFFSET, one_clock

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
TIMES = (
    "times are read as YYYY-MM-DD HH:MM:SS, also with T, without seconds, with fractions of a second, with Z, UTC or +00:00, "
    "and as a bare date; no other time zone is read"
)
NOT_A_TIME = f"is not a time ({TIMES})"  # what a message says of a text that is none
DATED = r"^\d{4}-"  # a year of two digits would be read as one of the first century
OTHER_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")
FIRST = datetime.datetime.min


def parse_time(name: str) -> pl.Expr:
    """Parse a text column as Datetime; null where it is empty or unreadable.

    Seconds may be missing or have fractions, ``T`` may stand between date and time, the zone ``Z``, ``UTC`` or ``+00:00`` may
    follow (the calendar is the source's own, so it is dropped), and a bare date means midnight. Any other offset is unreadable:
    dropping it would shift the time in silence, and so would applying it where the other tables have none. A column in which
    only some times state a zone fails the query (``zones.mixed`` makes one line of that error).

    >>> texts = ["2150-01-02T03:04Z", "2150-01-02 03:04:05.5 UTC", "2150-01-02", "2150-01-02 03:04:05+02:00", "50-01-02", " "]
    >>> [time and time.isoformat() for time in pl.DataFrame({"time": texts}).select(parse_time("time")).to_series()]
    ['2150-01-02T03:04:00', '2150-01-02T03:04:05.500000', '2150-01-02T00:00:00', None, None, None]
    """
    return one_clock(name, pl.coalesce(*_attempts(name)))


def has_no_time_of_day(text: pl.Expr) -> pl.Expr:
    """Whether the text of a time is a date only, perhaps with a zone; false where there is no text.

    >>> texts = ["2150-01-02 ", "2150-01-02Z", "2150-01-02 UTC", "2150-01-02+00:00", "2150-01-02 00:00", None]
    >>> pl.DataFrame({"time": texts}).select(has_no_time_of_day(pl.col("time"))).to_series().to_list()
    [True, True, True, True, False, False]
    """
    clock = text.str.contains(":", literal=True)
    zoned = pl.when(clock & (text.str.len_bytes() != LENGTH)).then(text).str.strip_chars().str.replace(ZERO_OFFSET, "")
    return (~(clock & zoned.str.contains(":", literal=True).fill_null(value=True))).fill_null(value=False)


def strict_time(name: str) -> pl.Expr:
    """As ``parse_time``, but a text that is not a time fails the query, with Polars's error for a failed conversion.

    ``raw_csv.unreadable`` makes one line of that error. For tables too large to be looked through a second time.
    """
    wrong = (pl.lit("not a time: ") + pl.col(name)).alias(name)  # a text that Polars cannot take for a time either
    failing = pl.when(unread_time(name)).then(wrong).alias(name).str.to_datetime(TIME_FORMAT, time_unit="us")
    return one_clock(name, pl.coalesce(*_attempts(name), failing))


def unread_time(name: str) -> pl.Expr:
    """Whether the text column holds something that is not a time; false where it is empty."""
    return (pl.col(name).str.strip_chars() != "").fill_null(value=False) & pl.coalesce(*_attempts(name)).is_null()


def _attempts(name: str) -> list[pl.Expr]:
    """The time by each of the formats, null where it has another: the usual format first, and the others only where it fails."""
    text = pl.col(name)
    usual = text.str.to_datetime(TIME_FORMAT, strict=False, time_unit="us")
    first = pl.when((text.str.len_bytes() == LENGTH) & (usual >= FIRST)).then(usual)
    rest = pl.when(first.is_null()).then(text).str.strip_chars()  # few texts: attempts at every row would be slow
    rest = rest.str.replace(ZERO_OFFSET, "").str.replace(r"[Tt]", " ")
    rest = pl.when(rest.str.contains(DATED)).then(rest)
    others = [rest.str.to_datetime(form, strict=False, time_unit="us") for form in OTHER_FORMATS]
    others.append(rest.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")))
    return [first, *(pl.when(time >= FIRST).then(time) for time in others)]


def day_end(time: pl.Expr) -> pl.Expr:
    """Replace times at midnight by the end of that day.

    They are dates without a time, as those of MIMIC-IV's discharge summaries, and must not count as earlier than they were.
    """
    bare = time.dt.time() == datetime.time(0)
    return pl.when(bare).then(time + datetime.timedelta(hours=23, minutes=59, seconds=59)).otherwise(time)
