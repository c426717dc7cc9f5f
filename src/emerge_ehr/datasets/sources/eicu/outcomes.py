"""Who died in a hospital stay of eICU, from records that may contradict each other, and who comes after the person's own death.

Each unit stay tells the end of the unit stay and of the hospital stay, both by a status, a place and a time.
"""

import polars as pl

from emerge_ehr.datasets.sources._mimic.outcomes import DEAD

HOSPITAL = "patienthealthsystemstayid"
PERSON = "uniquepid"
YEAR = "hospitaldischargeyear"  # the only thing that says which of a person's hospital stays came first
OUTCOMES = tuple(f"{place}discharge{what}" for place in ("hospital", "unit") for what in ("status", "location"))
# places outside the hospital, to which a unit's patient is discharged alive, and from the hospital at once
OUTSIDE = r"\bhome\b|nursing|rehab|other (?:hospital|external)|hospice"
DAY = 24 * 60  # minutes; the paperwork of a hospital's discharge may be done up to a day before that of the unit's


def outcomes(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int], list[str]]:
    """Add ``died`` (0/1, null where unknown or contradictory), ``unit_tells_death, hospital_tells_death``: whether status or
    location of the discharge says so, true or not, and ``after_death``. Returns counts and a warning of the contradictions, too.

    Status and location of a discharge say the same twice: a place other than "Death" contradicts a status "Expired", and "Death"
    the status "Alive". All unit stays of one hospital stay tell of one discharge from the hospital.
    """
    rows = _after_death(_told(rows))
    hospital, unit = pl.col("hospital"), pl.col("unit").eq_missing(1)
    # one unit stay may say that the patient left the hospital alive, and another that the patient died there or in its unit
    alive = hospital.eq_missing(0).any().over(HOSPITAL)
    dead_of_any = (hospital.eq_missing(1) | pl.col("unit_tells_death")).any().over(HOSPITAL)
    early = pl.col("unitdischargeoffset") - pl.col("hospitaldischargeoffset")
    left_alive = pl.col("unit").eq_missing(0)
    outside = pl.col("unitdischargelocation").str.to_lowercase().str.contains(OUTSIDE)
    tests = {
        "status and location of a discharge contradict each other": pl.col("hospital_differ") | pl.col("unit_differ"),
        "expired in the unit, discharged alive": hospital.eq_missing(0) & unit,
        "discharged from the unit to a place outside the hospital, expired in the hospital": hospital.eq_missing(1)
        & outside,
        "expired in the hospital before the unit's discharge alive, or discharged from it a day before a death in the unit": (
            (hospital.eq_missing(1) & left_alive & (early > 0)) | (unit & (early > DAY))
        ),
        "unit stays of one hospital stay contradict each other": (
            (alive & dead_of_any) | pl.col("hospital_differ").any().over(HOSPITAL)
        ),
        "the person expired in two hospital stays": pl.col("died_twice"),
    }
    known = pl.lit(value=True)
    counts = {}
    for reason, test in tests.items():  # each stay is counted once
        counts[reason] = rows.filter(known & test.fill_null(value=False)).height
        known &= ~test.fill_null(value=False)
    died = pl.when(known & hospital.is_null() & unit).then(1).when(known).then(hospital).alias("died")
    told = "; ".join(f"{count} {reason}" for reason, count in counts.items() if count)
    lost = f"{sum(counts.values())} of {rows.height} unit stays"
    warning = f"{lost} have no outcome, since their records contradict each other: {told}"
    return rows.with_columns(died), counts, [warning] if told else []


def _told(rows: pl.DataFrame) -> pl.DataFrame:
    """Add, of ``hospital`` and ``unit``, what status and location say (1 dead, 0 alive), ``_differ`` and ``_tells_death``."""
    for place in ("hospital", "unit"):
        status = pl.col(f"{place}dischargestatus").str.to_lowercase()
        location = pl.col(f"{place}dischargelocation").str.to_lowercase()
        told = pl.when(status.str.contains(DEAD)).then(1).when(status == "alive").then(0)
        died_there = location.str.contains(DEAD)
        rows = rows.with_columns(
            pl.coalesce(told, pl.when(died_there).then(1)).alias(place),
            (told != died_there).fill_null(value=False).alias(f"{place}_differ"),
            ((told == 1).fill_null(value=False) | died_there.fill_null(value=False)).alias(f"{place}_tells_death"),
        )
    return rows


def _after_death(rows: pl.DataFrame) -> pl.DataFrame:
    """Add ``after_death``: the hospital stay is of a later year than one that tells of the person's death; and ``died_twice``: it
    tells of the person's death, and so does another of that year or of one unknown.
    """
    tells = pl.any_horizontal("unit_tells_death", "hospital_tells_death")
    year = pl.when(tells).then(YEAR).min().over(PERSON)
    after = (pl.col(YEAR) > year).fill_null(value=False)
    rows = rows.with_columns(after.alias("after_death"))
    dead = tells & ~pl.col("after_death")
    deaths = pl.when(dead).then(HOSPITAL).drop_nulls().n_unique().over(PERSON)
    return rows.with_columns((dead & (deaths > 1)).alias("died_twice"))
