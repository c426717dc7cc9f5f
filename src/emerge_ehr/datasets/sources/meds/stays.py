"""Makes stays from MEDS events: pairs admissions with discharges, and ICU stays with the hospital admissions they lie in.

``events`` has ``kind, subject_id, time, code, tail`` (the end of the code, see ``meds.files``) and ``hadm_id, stay_id`` (text,
null where the dataset has none). Events are matched by these ids if they have them, else by person and time.
"""

from collections.abc import Collection
from datetime import timedelta

import polars as pl

from emerge_ehr.storage.sexes import known_sex
from emerge_ehr.storage.times import day_end

SAYS_NOTHING = r"(?i)(//|^)(UNK|UNKNOWN|OTHER|NONE)?$"  # the end of a discharge code
LATE = timedelta(hours=24)  # between two times of one discharge, or from the discharge of the dead to the death
OLDEST, SHIFTED = 120, 91  # a greater age comes from a shifted birth date; MIMIC-IV gives 91 for all ages over 89


def without_shifted_ages(stays: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """``stays`` with ages that a shifted birth date makes too high set to ``SHIFTED``, and a warning if there are some."""
    shifted = pl.col("age") > OLDEST
    old = stays.filter(shifted).height
    told = f"the age of {old} stays is above {OLDEST} years (a shifted birth date): it counts as {SHIFTED}"
    return stays.with_columns(pl.when(shifted).then(SHIFTED).otherwise("age").alias("age")), [told] if old else []


def of_kind(events: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The events of one kind, in order of person and time; those without a time, as sex may be, come last."""
    return events.filter(pl.col("kind") == kind).drop("kind").sort("subject_id", "time", "code", nulls_last=True)


def paired(opened: pl.DataFrame, closed: pl.DataFrame, key: str) -> pl.DataFrame:
    """Add ``end, end_code`` to ``opened``: time and code of the closing event with the same ``key``, or of the person's next one.

    >>> at = lambda hour: pl.datetime(2150, 1, 1, hour)
    >>> rows = pl.DataFrame({"subject_id": [7, 7], "code": ["a", "b"], "tail": "", "hadm_id": None})
    >>> opened = rows.with_columns(pl.when(code="a").then(at(1)).otherwise(at(4)).alias("time"))
    >>> closed = rows.with_columns(pl.when(code="a").then(at(4)).otherwise(at(9)).alias("time"))
    >>> paired(opened, closed, "hadm_id").select("code", "end_code", pl.col("end").dt.hour()).rows()
    [('a', 'a', 4), ('b', 'b', 9)]
    """
    opened = opened.filter(pl.col("time").is_not_null())
    ends = closed.filter(pl.col("time").is_not_null()).select(
        "subject_id", key, pl.col("time").alias("end"), pl.col("code").alias("end_code")
    )
    named_ends = ends.filter(pl.col(key).is_not_null()).unique(["subject_id", key], keep="last", maintain_order=True)
    by_id = pl.col(key).is_not_null() & pl.lit(value=named_ends.height > 0)
    named = opened.filter(by_id).unique(["subject_id", key], keep="first", maintain_order=True)
    named = named.join(named_ends, on=["subject_id", key], how="left")
    others = opened.filter(~by_id).unique(["subject_id", "time"], keep="first", maintain_order=True)
    others = others.sort("time").join_asof(
        ends.drop(key).sort("end"),
        left_on="time",
        right_on="end",
        by="subject_id",
        strategy="forward",
        allow_exact_matches=False,
        check_sortedness=False,
        coalesce=False,
    )
    # An end after the person's next opening belongs to that one; the end of this stay is then unknown.
    following = pl.col("time").shift(-1).over("subject_id", order_by="time")
    belongs = (pl.col("end") <= following).fill_null(value=True)
    others = others.with_columns(pl.when(belongs).then(pl.col(name)).alias(name) for name in ("end", "end_code"))
    return pl.concat([named, others.select(named.columns)]).sort("subject_id", "time")


def hospital_stays(events: pl.DataFrame, died: Collection[str], planned: Collection[str]) -> pl.DataFrame:
    """``subject_id, hadm_id, admittime, dischtime, planned, died`` (0, 1, or null: unknown), ``deathtime`` (in hospital),
    ``death`` (anywhere), ``contradictory`` (death and discharge do not go together: ``died`` is null).

    ``died``: codes of discharges because of death; ``planned``: codes of planned admissions. A missing id
    becomes ``subject_id-k``. A death that is a date without a time counts as the end of that day; on the day of discharge, the
    code of the discharge decides then. Where the dataset has neither deaths nor such codes, all outcomes are unknown.
    """
    stays = paired(of_kind(events, "hospital_admission"), of_kind(events, "hospital_discharge"), "hadm_id")
    deaths = of_kind(events, "death").group_by("subject_id").agg(pl.col("time").min().alias("death"))
    stays = stays.rename({"time": "admittime", "end": "dischtime"}).join(
        deaths.with_columns(day_end(pl.col("death"))), on="subject_id", how="left"
    )
    stays = stays.sort("subject_id", "admittime")
    died_by_code = pl.col("end_code").is_in(list(died)).fill_null(value=False)
    latest_death = pl.when(died_by_code).then(pl.col("dischtime") + LATE).otherwise(day_end(pl.col("dischtime")))
    stays = _with_all_ends(stays, of_kind(events, "hospital_discharge"), died)
    last = pl.col("admittime") == pl.col("admittime").max().over("subject_id")
    inside = (pl.col("death") >= pl.col("admittime")) & (pl.col("death") <= latest_death).fill_null(last)
    inside = inside.fill_null(value=False)
    alive = pl.col("dischtime").is_not_null() & pl.lit(value=bool(died) or deaths.height > 0)
    # a code that says nothing, or in a dataset without codes of death, contradicts no death
    says = pl.lit(value=bool(died)) & ~died_by_code & ~pl.col("end_code").str.contains(SAYS_NOTHING)
    before = (pl.col("death") < pl.col("dischtime")).fill_null(value=False)
    after = (pl.col("death") > day_end(pl.col("dischtime")) + LATE).fill_null(value=False)
    contradictory = ((inside & before & says) | (died_by_code & after) | (pl.col("ways") > 1)).fill_null(value=False)
    # a death that may be true counts, even if the outcome of its admission is unknown
    told = pl.when(contradictory | pl.col("death").is_null()).then(day_end(pl.col("left_dead"))).min()
    return stays.select(
        "subject_id",
        _or_numbered("hadm_id"),
        "admittime",
        "dischtime",
        pl.col("code").is_in(list(planned)).alias("planned"),
        pl.when(contradictory)
        .then(None)
        .when(inside | died_by_code)
        .then(1)
        .when(alive)
        .then(0)
        .cast(pl.Int64)
        .alias("died"),
        pl.when(inside).then("death").alias("deathtime"),
        pl.min_horizontal("death", told.over("subject_id")).alias("death"),
        contradictory.alias("contradictory"),
    )


def _with_all_ends(stays: pl.DataFrame, discharges: pl.DataFrame, died: Collection[str]) -> pl.DataFrame:
    """Add ``ways``, 2 where an admission has discharges dead and alive, and ``left_dead``, the first time of those dead.

    A discharge is that of the admission whose id it has; without an id on either side, of the person's latest admission before
    it, if it is within a day of that one's discharge.
    """
    numbered = stays.with_row_index("row")
    dead = pl.col("code").is_in(list(died)).alias("dead")
    ends = discharges.drop_nulls("time").select("subject_id", pl.col("hadm_id").alias("of"), "time", dead)
    pairs = numbered.join(ends.with_row_index("discharge"), on="subject_id")
    same = pl.col("hadm_id") == pl.col("of")
    named = pairs.filter(same)
    around = pairs.filter(same.is_null() & (pl.col("time") > pl.col("admittime")))
    around = around.sort("admittime").unique("discharge", keep="last", maintain_order=True)
    around = around.filter((pl.col("time") - pl.col("dischtime")).abs() <= LATE)
    ways = pl.col("dead").n_unique().alias("ways")
    both = pl.concat([named, around]).group_by("row").agg(ways, pl.col("time").filter("dead").min().alias("left_dead"))
    return numbered.join(both, on="row", how="left", maintain_order="left").drop("row")


def icu_stays(events: pl.DataFrame, hospital: pl.DataFrame) -> pl.DataFrame:
    """The ICU stays, with the columns of ``Source.stays`` and ``contradictory``.

    The admission of a stay without ``hadm_id`` is the latest that began before the stay and had not ended, else the first that
    begins during it, as when a patient is registered after arrival. A stay in no admission gets ``icu-`` and its own id as
    ``hadm_id``, and its outcome is unknown.
    """
    stays = paired(of_kind(events, "icu_admission"), of_kind(events, "icu_discharge"), "stay_id")
    stays = stays.rename({"time": "intime", "end": "outtime", "tail": "icu_type"}).drop("code", "end_code")
    stays = stays.sort("subject_id", "intime").with_columns(_or_numbered("stay_id"))
    keys = ["subject_id", "stay_id"]
    named = stays.join(hospital, on=["subject_id", "hadm_id"], how="semi")
    others = stays.join(named, on=keys, how="anti")
    around = others.drop("hadm_id").join(hospital, on="subject_id")
    began = pl.col("admittime") <= pl.coalesce("outtime", "intime")
    around = around.filter(began & (pl.col("dischtime") >= pl.col("intime")).fill_null(value=True))
    later = pl.col("admittime") > pl.col("intime")
    around = around.sort(later, (pl.col("admittime") - pl.col("intime")).abs(), "hadm_id").unique(
        keys, keep="first", maintain_order=True
    )
    others = others.join(around.select(*keys, pl.col("hadm_id").alias("around")), on=keys, how="left")
    hadm_id = pl.coalesce("around", "hadm_id", pl.format("icu-{}", "stay_id")).alias("hadm_id")
    stays = pl.concat([named, others.with_columns(hadm_id).drop("around")])
    stays = stays.join(hospital.drop("planned"), on=["subject_id", "hadm_id"], how="left")
    return with_person(stays, events).sort("subject_id", "intime", "stay_id")


def _or_numbered(key: str) -> pl.Expr:
    """The id in ``key``; where it is null, ``subject_id-k`` for the person's k-th row."""
    number = pl.int_range(1, pl.len() + 1).over("subject_id")
    return pl.coalesce(key, pl.format("{}-{}", "subject_id", number)).alias(key)


def with_person(stays: pl.DataFrame, events: pl.DataFrame, at: str = "intime") -> pl.DataFrame:
    """Add ``age`` (whole years at the time ``at``), ``sex``, and the latest ``ethnicity`` that was recorded by then, or by the
    admission."""
    births = of_kind(events, "birth").group_by("subject_id").agg(pl.col("time").min().alias("birth"))
    sex = pl.coalesce(known_sex(pl.col("tail")), "tail").alias("sex")
    sexes = of_kind(events, "gender").unique("subject_id", keep="last", maintain_order=True).select("subject_id", sex)
    keys = ["subject_id", "stay_id"]
    stated = of_kind(events, "ethnicity").select("subject_id", "time", pl.col("tail").alias("ethnicity"))
    stated = stays.select(*keys, pl.max_horizontal(at, "admittime").alias("known")).join(stated, on="subject_id")
    stated = stated.filter((pl.col("time") <= pl.col("known")).fill_null(value=True)).sort(
        "time", "ethnicity", nulls_last=False
    )
    stated = stated.unique(keys, keep="last", maintain_order=True).select(*keys, "ethnicity")
    stays = stays.join(births, on="subject_id", how="left").join(sexes, on="subject_id", how="left")
    stays = stays.join(stated, on=keys, how="left")
    birthday, day = (pl.col(name).dt.strftime("%m-%d") for name in ("birth", at))
    age = pl.col(at).dt.year() - pl.col("birth").dt.year() - (day < birthday).cast(pl.Int32)
    return stays.with_columns(age.alias("age")).drop("birth")
