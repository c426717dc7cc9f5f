"""Times that are dates: where no time of day was recorded, a value counts as measured at the end of its day, as a note does.

At midnight, it would be known up to 24 hours before it was measured. Whether midnight is a time or a date is decided per code and
over the whole dataset: a code whose every time is midnight has dates. One other time of day shows that it has times, and then its
midnights stay.
"""

import datetime
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from emerge_ehr.datasets.sources import Extract
from emerge_ehr.storage.times import day_end

MOSTLY = 0.5  # of a code's times; where more of them are midnight, but not all, there is a warning
NAMED = 5  # codes that a warning names


@dataclass(frozen=True)
class Dates:
    """What ``found`` says of a dataset. ``codes``: those whose every time is midnight; ``doubtful``: those with mostly midnights.

    ``rows``: how many measurements have a date only, of ``total``. ``known``: a finished run says which codes have dates;
    ``doubtful`` are then those whose times are all midnight although the run knows them by time.
    """

    codes: tuple[str, ...]
    doubtful: tuple[str, ...]
    rows: int
    total: int
    known: bool = False

    def warnings(self, where: str) -> Iterator[str]:
        """Warnings of dates; ``where`` opens each."""
        if self.rows:
            yield (
                f"{where}: {self.rows} of {self.total} measurements have a date and no time of day: each counts as measured at "
                "the end of its day"
            )
        if self.doubtful and self.known:
            yield (
                f"{where}: every time of {named(self.doubtful)} is exactly midnight, but the run learned from times of day, so "
                "that they count as times and are not moved; are they dates?"
            )
        elif self.doubtful:
            yield (
                f"{where}: most times of {named(self.doubtful)} are exactly midnight, but not all, so that they count as times; "
                "are they dates?"
            )


def is_midnight(time: str = "event_time") -> pl.Expr:
    """Whether a time is at midnight; false where there is none."""
    return (pl.col(time).dt.time() == datetime.time(0)).fill_null(value=False)


def counted(bare: pl.Expr | None = None, time: str = "event_time") -> list[pl.Expr]:
    """What ``found`` needs of each code, to aggregate the rows of a group by code.

    ``bare``: where the text of a time has no time of day, if that is known: such a row has a date, whatever the other rows have.
    """
    bare = pl.lit(value=False) if bare is None else bare
    return [
        pl.col(time).count().alias("timed"),
        is_midnight(time).sum().alias("midnights"),
        (is_midnight(time) & bare).sum().alias("bare"),
    ]


def found(codes: pl.DataFrame, known: Collection[str] | None = None) -> Dates:
    """The dates of a dataset, from ``code, timed, midnights, bare`` of all its codes.

    ``known``: the codes that have dates, where a finished run knows them, whatever the times of the new records look like.

    >>> rows = [("ph", 9, 9, 0), ("heart_rate", 9, 1, 0), ("glucose", 9, 8, 0), ("urea", 9, 5, 5)]
    >>> found(pl.DataFrame(rows, schema=["code", "timed", "midnights", "bare"], orient="row"))
    Dates(codes=('ph',), doubtful=('glucose',), rows=14, total=36, known=False)
    """
    whole = (pl.col("midnights") == pl.col("timed")) & (pl.col("timed") > 0)
    if known is not None:
        whole = pl.col("code").is_in(list(known))
    explicit = pl.col("midnights") - pl.col("bare")
    dated = codes.filter(whole).sort("code")
    many = explicit > MOSTLY * pl.col("timed") if known is None else (explicit == pl.col("timed")) & (explicit > 1)
    doubtful = codes.filter(~whole & many).sort("code")
    rows = int(dated["midnights"].sum()) + int(codes.filter(~whole)["bare"].sum())
    return Dates(tuple(dated["code"]), tuple(doubtful["code"]), rows, int(codes["timed"].sum()), known is not None)


def at_day_end(codes: Collection[str], code: str = "code", time: str = "event_time") -> pl.Expr:
    """The times of rows, with those of the dated ``codes`` moved to the end of their day.

    >>> day = pl.datetime(2150, 1, 1)
    >>> rows = pl.DataFrame({"code": ["ph", "pulse"]}).with_columns(day.alias("event_time"))
    >>> rows.select(at_day_end(["ph"]).dt.hour()).to_series().to_list()
    [23, 0]
    """
    return pl.when(pl.col(code).is_in(list(codes))).then(day_end(pl.col(time))).otherwise(pl.col(time)).alias(time)


def stays_at_day_end(stays: pl.DataFrame) -> Extract:
    """Move the times of stays that are dates to the end of their day; count the stays, and warn of them.

    A column whose every time is midnight has dates, and so has a row whose ``<name> bare``, if there is such a column, says that
    its text has no time of day. The end of a stay is not moved beyond the next stay's beginning, nor the admission to the
    hospital beyond that to the ICU.
    """
    moved: dict[str, pl.Series] = {}
    for name in ("intime", "outtime", "admittime", "dischtime"):
        bare = pl.col(f"{name} bare") if f"{name} bare" in stays.columns else pl.lit(value=False)
        always = (is_midnight(name) | pl.col(name).is_null()).all()
        moved[name] = stays.select((is_midnight(name) & (bare | always)).alias(name)).to_series()
        last = day_end(pl.col(name))
        if name == "outtime":  # the person's next stay may begin on that day
            following = pl.col("intime").shift(-1).over("subject_id", order_by="intime")
            last = pl.min_horizontal(last, pl.when(following >= pl.col(name)).then(following))
        elif name == "admittime":
            last = pl.min_horizontal(last, pl.max_horizontal("admittime", "intime"))
        stays = stays.with_columns(pl.when(moved[name]).then(last).otherwise(name).alias(name))
    stays = stays.drop(name for name in stays.columns if name.endswith(" bare"))
    count = int(pl.DataFrame(moved).select(pl.any_horizontal(pl.all()).sum()).item())
    if not count:
        return Extract(stays)
    names = ", ".join(name for name, dated in moved.items() if dated.any())
    reason = f"stays whose {names} is a date without a time of day, taken as the end of that day"
    return Extract(
        stays, {reason: count}, (f"{count} of {stays.height} {reason}: they may have begun or ended up to 24 h before",)
    )


def named(codes: Sequence[str]) -> str:
    """The first codes in words.

    >>> named(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d, e ...'
    """
    return ", ".join(codes[:NAMED]) + (" ..." if len(codes) > NAMED else "")
