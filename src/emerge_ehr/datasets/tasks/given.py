"""Task given: the outcomes that the source's own ``label.csv`` carries, whatever they are (source ``tables``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import polars as pl

from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Outcome, Sample, Task
from emerge_ehr.fields import UserError, refuse_repeated


@dataclass(frozen=True)
class Options:
    """``label_codes``: which of them, in order; none: all. ``outcome``: how summaries and the report name the outcome."""

    label_codes: tuple[str, ...] = ()
    outcome: str = "the outcome"


@final
@dataclass(frozen=True)
class Given:
    """Labels as they come."""

    options: Options

    @property
    def question(self) -> str:
        """For summaries."""
        return self.options.outcome

    @property
    def codes(self) -> tuple[str, ...] | None:
        """Those asked for, else those that are there."""
        return self.options.label_codes or None

    @property
    def from_codes(self) -> bool:
        """No."""
        return False

    @property
    def sample(self) -> Sample:
        """Anything: whatever the rows of the source's tables stand for."""
        return Sample("record", "record", "patient record")

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """By ``outcome`` where the config sets it, of several labels with the code before it; else by the code."""
        named = self.options.outcome if self.options.outcome != Options().outcome else ""
        words = [code.replace("_", " ") for code in codes]
        if not named:
            return tuple(map(Outcome, words))
        return (Outcome(named),) if len(words) == 1 else tuple(Outcome(f"{own} ({named})") for own in words)

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """The rows of the cohort's samples.

        Raises:
            UserError: no sample of the cohort has a label code that was asked for.
        """
        table = source.records("labels").join(cohort.select("patient_id"), on="patient_id", how="semi")
        there = table["label_code"].unique().sort().to_list()
        for code in self.options.label_codes:
            if code not in there:
                raise UserError(
                    f"[task] label_codes: no sample of the cohort has the label '{code}'; "
                    f"they have: {', '.join(there) or 'none'}"
                )
        if self.options.label_codes:
            table = table.filter(pl.col("label_code").is_in(list(self.options.label_codes)))
        without = cohort.join(table, on="patient_id", how="anti")["patient_id"].to_list()
        return Labels(table.select("patient_id", "label_time", "label_code", "label_value"), {"no label": without})


def build(options: Options) -> Task:
    """The task."""
    refuse_repeated(options.label_codes, "[task] label_codes")
    return Given(options)
