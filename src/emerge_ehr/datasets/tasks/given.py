"""Task given: predicts the outcomes in the source's own ``label.csv``, whatever they are (for the source ``tables``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import polars as pl

from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Outcome, SampleWords, Task
from emerge_ehr.datasets.timing import Timing
from emerge_ehr.fields import UserError, refuse_repeated
from emerge_ehr.signals import spelling


@dataclass(frozen=True)
class Options:
    """``label_codes``: the labels to predict, in order; all if empty. ``outcome``: its name in summaries and the report."""

    label_codes: tuple[str, ...] = ()
    outcome: str = "the outcome"


@final
@dataclass(frozen=True)
class Given:
    """Takes the labels as the source has them."""

    from_codes: ClassVar[bool] = False
    # a sample may be anything that a row of the source's tables stands for
    sample: ClassVar[SampleWords | None] = SampleWords("record", "record", "patient record")
    timing: ClassVar[Timing | None] = None
    options: Options

    @property
    def question(self) -> str:
        """What is predicted, in words for summaries."""
        return self.options.outcome

    @property
    def codes(self) -> tuple[str, ...] | None:
        """The labels that the config names; None for all that the source has."""
        return self.options.label_codes or None

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """The config's ``outcome`` if it is set, with the code before it where there are several labels; else the code."""
        named = self.options.outcome if self.options.outcome != Options().outcome else ""
        words = [code.replace("_", " ") for code in codes]
        if not named:
            return tuple(map(Outcome, words))
        return (Outcome(named),) if len(words) == 1 else tuple(Outcome(f"{word} ({named})") for word in words)

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """The rows of ``label.csv`` that belong to samples of the cohort.

        Raises:
            UserError: no sample of the cohort has one of the config's label codes, or a label is neither 0 nor 1.
        """
        labels = source.records("labels")
        _refuse_other_kinds(labels, self.options.label_codes)
        table = labels.join(cohort.select("patient_id"), on="patient_id", how="semi")
        codes = table["label_code"].unique().sort().to_list()
        for code in self.options.label_codes:
            if code not in codes:
                raise UserError(
                    f"[task] label_codes: no sample of the cohort has the label '{code}'; "
                    f"they have: {', '.join(codes) or 'none'}"
                )
        if self.options.label_codes:
            table = table.filter(pl.col("label_code").is_in(list(self.options.label_codes)))
        unlabelled = cohort.join(table, on="patient_id", how="anti")["patient_id"].to_list()
        chosen = table.select("patient_id", "label_time", "label_code", "label_value")
        return Labels(chosen, {"no label": unlabelled}, tuple(spelling.outcomes(codes)), every=labels)


def _refuse_other_kinds(labels: pl.DataFrame, chosen: Sequence[str]) -> None:
    """Refuse labels that are no yes or no, such as classes from 0 to 4 or a length of stay, and say which ones are.

    Raises:
        UserError: a label that is to be predicted has another value than 0 and 1.
    """
    binary = pl.col("label_value").cast(pl.Float64).is_in([0.0, 1.0])
    kinds = labels.group_by("label_code").agg(binary.all().alias("binary")).sort("label_code")
    others = [code for code, fits in kinds.rows() if not fits and (not chosen or code in chosen)]
    if not others:
        return
    patient, value = (
        labels.filter(~binary & pl.col("label_code").is_in(others)).select("patient_id", "label_value").row(0)
    )
    fitting = ", ".join(f'"{name}"' for name in kinds.filter("binary")["label_code"])
    remedy = (
        f"choose others: [task] label_codes = [{fitting}]" if fitting else "mend the file: 1 where it happened, else 0"
    )
    raise UserError(
        f"label.csv: label_value {value:g} of patient_id '{patient}' is neither 0 nor 1 (label_code {', '.join(others)}); EMERGE "
        f"predicts what happens or does not, no classes and no amounts; {remedy}"
    )


def build(options: Options) -> Task:
    """Build the task."""
    refuse_repeated(options.label_codes, "[task] label_codes")
    return Given(options)
