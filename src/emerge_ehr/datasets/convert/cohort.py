"""Decides who is in the cohort: exclusions in a fixed order, each counted in stays and persons."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from emerge_ehr.config import Cohort
from emerge_ehr.datasets.sources import Extract
from emerge_ehr.datasets.tasks import SampleWords
from emerge_ehr.datasets.window import TRANSFER, stay_end
from emerge_ehr.fields import UserError, plural
from emerge_ehr.storage import schema
from emerge_ehr.storage.sexes import known_sex
from emerge_ehr.storage.times import day_end

FEW = 0.01  # the share of the stays up to which an unreadable fact is counted without a warning
# Label codes that say that a person died, or lived
DEATH, SURVIVAL = r"(?i)mortality|death|\bdead\b|died|deceas|expire", r"(?i)surviv|\balive\b"
# but not when, or not for sure: within a time (mortality_90d), something else as well (death_or_transplant), free of it
UNSURE = (
    r"(?i)(?:^|[^a-z])(?:days?|weeks?|months?|y(?:ea)?rs?|long|free|no|non|not|without|or|and|composite)(?:[^a-z]|$)|\d"
)
BOUNDS = {"icu": ("intime", "outtime"), "hospital": ("admittime", "dischtime")}  # of a sample, by ``cohort.anchor``


@dataclass(frozen=True)
class Step:
    """One line of the cohort flow: how many were excluded for ``reason``, and how many are left.

    ``doubtful``: the reason is that the record cannot be true.
    """

    reason: str
    dropped_stays: int
    dropped_patients: int
    stays: int
    patients: int
    doubtful: bool = False


def with_windows(stays: pl.DataFrame, rule: Cohort) -> pl.DataFrame:
    """Add ``patient_id`` (of the stay or the admission) and the observation window, which lies within the stay or admission."""
    opened, closed = BOUNDS[rule.anchor]
    hours = timedelta(hours=rule.window_hours)
    stays = stays.with_columns(stay_end(closed).alias("until"))
    start = {"last": pl.max_horizontal(opened, pl.col("until") - hours)}.get(rule.window, pl.col(opened))
    end = {"first": pl.min_horizontal(pl.col(opened) + hours, "until")}.get(rule.window, pl.col("until"))
    sample = "stay_id" if rule.anchor == "icu" else "hadm_id"
    stays = stays.with_columns(pl.col(sample).alias("patient_id"), start.alias("window_start"), end.alias("window_end"))
    return stays.drop("until")


def select(
    stays: pl.DataFrame, rule: Cohort, sample: SampleWords | None = None, *, one_calendar: bool = True
) -> tuple[pl.DataFrame, list[Step]]:
    """The stays that satisfy ``rule``, in order of ``patient_id``, and the cohort flow.

    ``sample`` says what the task calls a sample, if it has its own word; ``one_calendar``: whether the times of a person's
    admissions can be compared. A stay lasts until death or discharge, whatever its recorded end.
    """
    opened, closed = BOUNDS[rule.anchor]
    place = "ICU" if rule.anchor == "icu" else "hospital"
    if sample is None:
        all_of, period, bounds = "ICU stays", f"{place} stay", f"{place} admission or discharge"
        reversed_ = f"{place} discharge before admission"
    else:
        all_of, period, bounds = f"{sample.word}s", sample.word, "start or end"
        reversed_ = f"{sample.word} ends before it starts"
    recorded = (pl.col(closed) - pl.col(opened)).dt.total_seconds() / 3600
    hours = (stay_end(closed) - pl.col(opened)).dt.total_seconds() / 3600
    later = pl.int_range(pl.len()).over("hadm_id", order_by="intime") > 0
    exclusions = {
        f"no {bounds} time": pl.col(opened).is_null() | pl.col(closed).is_null(),
        reversed_: recorded < 0,
        **_contradictions(rule.anchor, of_admissions=sample is None),
        **({"later ICU stay of the same admission": later} if rule.anchor == "hospital" else {}),
        **(
            _overlapping(rule.anchor, one_calendar) if sample is None else {}
        ),  # of an admission, one row is left by now
        f"younger than {rule.min_age} years, or age unknown": (pl.col("age") < rule.min_age).fill_null(
            value=rule.min_age > 0
        ),
        f"{period} shorter than {rule.min_stay_hours:g} h": hours < rule.min_stay_hours,
    }
    remaining = with_windows(stays, rule)
    steps = [Step(f"{all_of} in the source", 0, 0, remaining.height, remaining["subject_id"].n_unique())]
    rare = {**_contradictions(rule.anchor, of_admissions=True), **_overlapping(rule.anchor, one_calendar)}
    doubtful = {reversed_, f"no {bounds} time", *rare}
    for reason, condition in exclusions.items():
        remaining, step = exclude(remaining, condition, reason)
        if step.dropped_stays or reason not in rare:
            steps.append(replace(step, doubtful=reason in doubtful))
    return remaining.sort("patient_id"), steps


def _contradictions(anchor: str, *, of_admissions: bool) -> dict[str, pl.Expr]:
    """What a true record of a sample cannot be, reason -> test. They stand in the cohort flow where they occur.

    ``of_admissions``: whether samples are ICU stays or admissions, rather than what a user's own table calls a record.
    """
    opened, _ = BOUNDS[anchor]
    tests = {
        "admission id that two persons have": pl.col("subject_id").n_unique().over("hadm_id") > 1,
        "stay id that stands twice": pl.len().over("stay_id") > 1,
        "after the person's death": pl.col(opened) >= pl.min_horizontal("death", "deathtime"),
        "hospital discharge before the hospital admission": day_end(pl.col("dischtime")) < pl.col("admittime"),
    }
    of_stays = {
        "hospital discharge before the ICU admission": day_end(pl.col("dischtime")) < pl.col("intime"),
        "hospital admission after the ICU stay": pl.col("admittime") > pl.col("outtime"),
    }
    return {**tests, **(of_stays if of_admissions and anchor == "icu" else {})}


def _overlapping(anchor: str, one_calendar: bool) -> dict[str, pl.Expr]:
    """Whether a stay, or an admission with a single row, begins before an earlier one has ended: the same hours would be two
    samples. Of an admission that begins up to 24 h before it, a transfer is the reason."""
    if anchor == "hospital" and not one_calendar:
        return {}
    opened, closed = BOUNDS[anchor]
    whose, of = ("subject_id", "person") if one_calendar else ("hadm_id", "admission")
    what, tolerance = ("ICU stay", timedelta(0)) if anchor == "icu" else ("admission", TRANSFER)
    ended = pl.col(closed).cum_max().shift(1).over(whose, order_by=[opened, "stay_id"])
    return {f"overlaps an earlier {what} of the same {of}": pl.col(opened) < ended - tolerance}


def exclude(stays: pl.DataFrame, condition: pl.Expr, reason: str) -> tuple[pl.DataFrame, Step]:
    """Drop the stays where ``condition`` holds, and count them."""
    kept = stays.filter(~condition.fill_null(value=False))
    patients = kept["subject_id"].n_unique()
    return kept, Step(
        reason, stays.height - kept.height, stays["subject_id"].n_unique() - patients, kept.height, patients
    )


def exclude_undefined(stays: pl.DataFrame, undefined: Mapping[str, list[str]]) -> tuple[pl.DataFrame, list[Step]]:
    """Drop the samples whose ids are listed under each reason, and count them."""
    steps = []
    for reason, patients in undefined.items():
        stays, step = exclude(stays, pl.col("patient_id").is_in(patients), reason)
        steps.append(step)
    return stays, steps


def says_death(label_code: str) -> bool:
    """Whether ``deaths`` reads a label of this code as the time of a death.

    >>> says_death("mortality"), says_death("mortality_48h"), says_death("outcome")
    (True, False, False)
    """
    one = pl.DataFrame({"patient_id": "", "label_time": None, "label_code": label_code})
    return any(deaths(one.with_columns(label_value=pl.lit(value))).height for value in (0, 1))


def deaths(labels: pl.DataFrame) -> pl.DataFrame:
    """``patient_id, death`` of the outcomes that say, by the words of their ``label_code``, that the person died by then.

    >>> rows = [("a", "died", 1), ("b", "survival", 0), ("c", "mortality_90d", 1), ("d", "free_of_death", 1)]
    >>> labels = pl.DataFrame(rows, schema=["patient_id", "label_code", "label_value"], orient="row")
    >>> deaths(labels.with_columns(label_time=pl.datetime(2150, 1, 2)))["patient_id"].to_list()
    ['a', 'b']
    """
    code, value = pl.col("label_code"), pl.col("label_value")
    died = (code.str.contains(DEATH) & (value == 1)) | (code.str.contains(SURVIVAL) & (value == 0))
    return labels.filter(died & ~code.str.contains(UNSURE)).select("patient_id", pl.col("label_time").alias("death"))


def first_deaths(labels: pl.DataFrame, stays: pl.DataFrame, whose: list[str]) -> pl.DataFrame:
    """The columns ``whose`` of ``stays``, and ``death``: when, by the outcomes of their stays, these died."""
    of_stays = deaths(labels).join(stays.select("patient_id", *whose), on="patient_id")
    return of_stays.group_by(whose).agg(pl.col("death").min())


def after_death(labels: pl.DataFrame, stays: pl.DataFrame) -> pl.Expr:
    """Whether a stay's window begins after its person died, as the outcome of another of the person's stays has it.

    ``labels`` are the outcomes of ``stays``, among which are those that are not in the cohort: a stay that ended with death may
    be too short for it.
    """
    told = {"patient_id": "other", "death": "told"}
    died = deaths(labels).join(stays.select("patient_id", "subject_id"), on="patient_id").rename(told)
    after = stays.join(died, on="subject_id").filter(
        (pl.col("window_start") >= pl.col("told")) & (pl.col("patient_id") != pl.col("other"))
    )
    return pl.col("patient_id").is_in(after["patient_id"].unique().to_list())


def known_in_window(labels: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``labels`` whose outcome was known before the end of the sample's observation window: they would leak."""
    timed = labels.join(stays.select("patient_id", "window_end"), on="patient_id")
    return timed.filter(pl.col("label_time") < pl.col("window_end")).drop("window_end")


def known_sexes(given: Extract) -> Extract:
    """Read the sexes as F and M. Others are unknown, and counted; a warning tells where they are not few."""
    read = given.table.with_columns(known_sex(pl.col("sex")).alias("sex"))
    other = given.table.filter(read["sex"].is_null() & (pl.col("sex").str.strip_chars() != ""))["sex"]
    if other.is_empty():
        return replace(given, table=read)
    counts = {**given.counts, "stays whose sex is neither F nor M, taken as unknown": other.len()}
    words = ", ".join(f"'{word}'" for word in other.unique().sort().head(3))
    told = f"{other.len()} of {read.height} stays have a sex that is neither F nor M ({words}): it is taken as unknown"
    warnings = (told,) if other.len() > FEW * read.height else ()
    return replace(given, table=read, counts=counts, warnings=(*given.warnings, *warnings))


def refuse_impossible_ages(stays: pl.DataFrame, raw_dir: Path) -> None:
    """Check the ages against the range of ``static.csv``.

    Raises:
        UserError: a person is too old.
    """
    oldest = next(column.high for column in schema.STATIC.columns if column.name == "age")
    wrong = stays.filter(pl.col("age") > oldest)
    if wrong.height:
        stay, age = wrong.select("stay_id", "age").row(0)
        raise UserError(
            f"{raw_dir}: stay_id {stay} has an age of {age:g} years, which is outside 0-{oldest:g}; mend the age, or "
            f"the years it is computed from, in {plural(wrong.height, 'such stay')}"
        )
