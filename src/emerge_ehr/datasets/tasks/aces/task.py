"""Task aces: predicts what an ACES task definition asks, at its prediction times (Xu et al. 2025, arXiv 2406.19653).

A sample is a person at a prediction time. ACES decides who and when, and the outcome; it runs in an environment of its own, since
es-aces needs an older polars than this package.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import polars as pl

from emerge_ehr.datasets.convert import cohort as cohort_rules
from emerge_ehr.datasets.predictions import LabelFiles, Predictions
from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Outcome, SampleWords, Task
from emerge_ehr.datasets.tasks.aces.extraction import Extraction
from emerge_ehr.datasets.timing import Timing
from emerge_ehr.fields import Name, UserError


@dataclass(frozen=True)
class Options:
    """``labels``: the folder of labels that aces-cli has written. Or ``definition``: the YAML of an ACES task, which stage
    convert has aces-cli extract, with the dataset's own ``predicates`` if they are in another file; ``command``: aces-cli.

    ``label_code``: the outcome's name in tables; ``outcome``: its words in summaries and the report.
    """

    labels: Path | None = None
    definition: Path | None = None
    predicates: Path | None = None
    command: Path = Path("aces-cli")
    label_code: Name = "outcome"
    outcome: Name = "the outcome"


@final
@dataclass(frozen=True)
class Aces:
    """Takes the labels as ACES gives them. They do not say when an outcome was known: the prediction time stands for that."""

    from_codes: ClassVar[bool] = False
    sample: ClassVar[SampleWords | None] = SampleWords(
        "prediction time", "prediction time", "prediction time of a person"
    )
    timing: ClassVar[Timing | None] = None
    options: Options

    @property
    def question(self) -> str:
        """What is predicted, in words for summaries."""
        return self.options.outcome

    @property
    def codes(self) -> tuple[str, ...]:
        """The task's only label code."""
        return (self.options.label_code,)

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """The config's words for the outcome, or its label code."""
        named = self.options.outcome if self.options.outcome != Options().outcome else ""
        return tuple(Outcome(named or code.replace("_", " ")) for code in codes)

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """The outcomes of the cohort's prediction times."""
        labels = source.records("labels").filter(pl.col("label_code") == self.options.label_code)
        table = labels.join(cohort.select("patient_id"), on="patient_id", how="semi")
        unlabelled = cohort.join(table, on="patient_id", how="anti")["patient_id"].to_list()
        chosen = table.select("patient_id", "label_time", "label_code", "label_value")
        # a death within a horizon of one prediction time does not say that the person was dead at the next one
        return Labels(chosen, {"no label": unlabelled}, every=chosen.clear())


def build(options: Options) -> Task:
    """Build the task.

    Raises:
        UserError: neither or both of ``labels`` and ``definition`` are given, or the label code reads as a death that has
            happened by the prediction time.
    """
    if (options.labels is None) == (options.definition is None):
        raise UserError(
            "[task] name = 'aces': give labels, the folder of labels that aces-cli has written, or definition, the YAML of an "
            "ACES task; not both"
        )
    if options.predicates is not None and options.definition is None:
        raise UserError("[task] predicates: belongs to definition, which is not given")
    if cohort_rules.says_death(options.label_code):
        named = options.label_code.removesuffix("_in_hospital")
        raise UserError(
            f"[task] label_code = '{options.label_code}': reads as a death that has happened by the prediction time; say within "
            f"what time, as in '{named}_in_hospital_48h', or leave it out"
        )
    return Aces(options)


def predictions(options: Options, *, raw_dir: Path) -> Predictions:
    """The prediction times and outcomes that the task brings, of the dataset in ``raw_dir``."""
    if options.labels is not None:
        return LabelFiles(options.labels, options.label_code)
    assert options.definition is not None, "build has refused a task without both"
    return Extraction(raw_dir, options.definition, options.predicates, options.command, options.label_code)
