"""Who died in hospital, and when each person died, from records that may contradict each other.

An admission says three times how it ended: by its flag, by a time of death, and by where the patient was discharged to. Where
they disagree, the outcome is unknown. Organ donors are registered anew after their death, and do not survive such an admission.
"""

from datetime import timedelta

import polars as pl

from emerge_ehr.datasets.sources import Extract
from emerge_ehr.storage.times import day_end

# of a discharge location, wherever it stands: PATIENT EXPIRED, HOSPICE-EXPIRED, DEAD/EXPIRED
DEAD = r"(?i)(^|[^a-z])(died|dead|death|expired|deceased|morgue|mortuary|coroner)([^a-z]|$)"
UNKNOWN = ("", "UNKNOWN", "UNK", "OTHER", "___")  # discharge locations that say nothing
JUDGED = "admissions without a flag, judged by the time of death or the place of discharge"


def with_outcomes(admissions: pl.DataFrame, patients: pl.DataFrame) -> Extract:
    """``died`` (1, 0, or null where unknown or contradictory) from all that the admission says; counts contradictions by kind.

    ``admissions`` has ``subject_id, admittime, dischtime, deathtime, discharge_location`` and, as ``died``, the flag;
    ``patients`` has ``subject_id, dod`` and, where the hospital itself registers deaths, ``dod_hosp`` (dates). A time of death
    without a time of day becomes the end of that day. ``tells_death``: whether the admission says anywhere that the person died.
    """
    dates = ["dod", *({"dod_hosp"} & set(patients.columns))]
    known = admissions.with_columns(day_end(pl.col("deathtime")).alias("deathtime"))
    known = known.join(patients.select("subject_id", *dates), on="subject_id", how="left", maintain_order="left")
    if "dod_hosp" not in dates:
        known = known.with_columns(pl.lit(None, pl.Datetime("us")).alias("dod_hosp"))
    known = known.with_columns(*_said())
    contradictory = pl.any_horizontal(_contradictions().values())
    dead = pl.col("said_dead") | (pl.col("died").is_null() & pl.col("timed"))
    died = pl.when(~contradictory & dead).then(1).when(~contradictory & pl.col("said_alive")).then(0).cast(pl.Int64)
    counts = {reason: known.filter(test).height for reason, test in _contradictions().items()}
    counts = {reason: count for reason, count in counts.items() if count}
    warning = f"{known.filter(contradictory).height} of {known.height} admissions contradict themselves about death in hospital"
    told = "; ".join(f"{count} {reason}" for reason, count in counts.items())
    warnings = [f"{warning}, so that their outcome is unknown: {told}"] if counts else []
    if judged := known.filter(pl.col("died").is_null() & died.is_not_null()).height:
        counts[JUDGED] = judged
        warnings.append(f"{judged} {JUDGED}")
    tells = (
        pl.col("said_dead") | pl.col("place_dead") | (pl.col("deathtime") >= pl.col("admittime")).fill_null(value=False)
    )
    table = known.with_columns(died.alias("died"), tells.alias("tells_death"))
    return Extract(table.select(*admissions.columns, "tells_death"), counts, tuple(warnings))


def _said() -> list[pl.Expr]:
    """Boolean columns of what an admission says of its end; false where it says nothing.

    The paperwork of a discharge may be done up to a day before the death, so that death in hospital is one by the end of the day
    after the discharge. A date of death (``dod``) of the day of discharge or later may be that of a death elsewhere, unless it is
    the hospital's own.
    """
    place = pl.col("discharge_location").str.strip_chars().str.to_uppercase()
    stated, flag = place.is_not_null() & ~place.is_in(UNKNOWN), pl.col("died")
    place_dead, place_alive = (stated & place.str.contains(DEAD)), (stated & ~place.str.contains(DEAD))
    came, left = pl.col("admittime").dt.truncate("1d"), pl.col("dischtime").dt.truncate("1d")
    by_then = (pl.col("deathtime") < left + timedelta(days=2)).fill_null(value=True)
    tests = {
        "place_dead": place_dead,
        "place_alive": place_alive,
        "said_dead": (flag == 1) | (flag.is_null() & place_dead),
        "said_alive": (flag == 0) | (flag.is_null() & place_alive),
        "too_early": pl.col("deathtime") < pl.col("admittime"),
        "timed": (pl.col("deathtime") >= pl.coalesce("admittime", "deathtime")) & by_then,
        "too_late": pl.col("deathtime") >= left + timedelta(days=2),
        "dated": ((pl.col("dod") >= came) & (pl.col("dod") < left))
        | ((pl.col("dod_hosp") >= came) & (pl.col("dod_hosp") <= left)),
        "dated_elsewhere": (pl.col("dod") < came) | (pl.col("dod") >= left + timedelta(days=2)),
    }
    return [test.fill_null(value=False).alias(name) for name, test in tests.items()]


def _contradictions() -> dict[str, pl.Expr]:
    """Reason -> test of the columns of ``_said``."""
    alive, dead = (pl.col("died") == 0).fill_null(value=False), (pl.col("died") == 1).fill_null(value=False)
    timed, dated, late, elsewhere = (pl.col(name) for name in ("timed", "dated", "too_late", "dated_elsewhere"))
    other_way = (
        (pl.col("place_alive") & (timed | dated)) | (pl.col("place_dead") & (late | elsewhere)) | (timed & elsewhere)
    )
    return {
        "admissions flagged as survivors, with a time of death within the admission or by the day after it": alive
        & timed,
        "admissions flagged as survivors, with a registered date of death before the discharge": alive & dated,
        "admissions with a time of death before they began": pl.col("too_early"),
        "admissions flagged as survivors, discharged as dead": alive & pl.col("place_dead"),
        "admissions flagged as dead, discharged alive": dead & pl.col("place_alive"),
        "admissions flagged as dead, with a time of death long after the discharge": dead & late,
        "admissions flagged as dead, with a registered date of death before the admission or long after the discharge": dead
        & elsewhere,
        "admissions without a flag, whose place of discharge and time or date of death disagree": pl.col(
            "died"
        ).is_null()
        & other_way,
        "admissions with a flag other than 0 and 1": (~pl.col("died").is_in([0, 1])).fill_null(value=False),
    }


def deaths(admissions: pl.DataFrame, patients: pl.DataFrame) -> pl.DataFrame:
    """``subject_id, death``: when each person died, as an admission tells or, by the date ``dod`` of ``patients``, elsewhere.

    ``admissions`` are those of ``with_outcomes``. What an admission tells counts before the date, which other registers may
    supply, and also where it contradicts itself: whoever comes after a death that may be true is no sample.
    """
    timed = pl.when(pl.col("deathtime") >= pl.coalesce("admittime", "deathtime")).then("deathtime")
    moment = pl.when("tells_death").then(pl.coalesce(timed, day_end(pl.col("dischtime"))))
    inside = admissions.group_by("subject_id").agg(moment.min().alias("inside"))
    joined = patients.select("subject_id", day_end(pl.col("dod")).alias("dod")).join(
        inside, on="subject_id", how="left"
    )
    return joined.select("subject_id", pl.coalesce("inside", "dod").alias("death"))


def before_death(admissions: pl.DataFrame, of: pl.DataFrame) -> pl.DataFrame:
    """The admissions that begin before the person's death; ``of`` is the table of ``deaths``."""
    joined = admissions.join(of, on="subject_id", how="left", maintain_order="left")
    return joined.filter((pl.col("admittime") < pl.col("death")).fill_null(value=True)).drop("death")
