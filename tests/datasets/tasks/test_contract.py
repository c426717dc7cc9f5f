"""What every task promises, on a generated hospital whose source has all kinds of records."""

from dataclasses import dataclass
from datetime import timedelta

import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.config import Cohort
from emerge_ehr.datasets.convert import cohort as cohort_rules
from emerge_ehr.datasets.sources import Source, mimic4
from emerge_ehr.datasets.sources.synthetic import Options
from emerge_ehr.datasets.sources.synthetic.generate import generate
from emerge_ehr.datasets.tasks import Labels, Task
from emerge_ehr.datasets.timing import DEATH
from tests.examples import chosen

PLUGS = components.names("task")
LABELS = ["patient_id", "label_time", "label_code", "label_value"]


@dataclass(frozen=True)
class Hospital:
    """The source's records, and ready-made labels of two outcomes for all but the first sample."""

    source: Source
    cohort: pl.DataFrame

    def records(self, kind: str) -> pl.DataFrame:
        if kind != "labels":
            return self.source.records(kind)  # type: ignore[arg-type]
        time = pl.col("window_end") + timedelta(days=1)
        value = (pl.int_range(pl.len()) % 2).cast(pl.Float64)
        labels = self.cohort.select("patient_id", time.alias("label_time"), value.alias("label_value"))[1:]
        codes = pl.DataFrame({"label_code": ["relapse", "sepsis"]})
        return labels.join(codes, how="cross").select(LABELS)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    folder = tmp_path_factory.mktemp("hospital")
    generate(folder, Options(stays=150), 3)
    source = mimic4.build(mimic4.Options(), raw_dir=folder, kg_dir=folder, seed=0)
    return Hospital(source, cohort_rules.select(source.stays().table, Cohort())[0])


def labelled(plug: str, cohort: pl.DataFrame, hospital: Hospital) -> tuple[Task, Labels]:
    task: Task = components.build("task", chosen("task", plug))
    return task, task.labels(cohort, hospital)  # type: ignore[arg-type]


@pytest.mark.parametrize("plug", PLUGS)
def test_a_task_labels_every_sample_once_or_says_why_not(plug: str, hospital: Hospital) -> None:
    task, labels = labelled(plug, hospital.cohort, hospital)
    table = labels.table
    assert table.columns == LABELS and table.schema["label_time"] == pl.Datetime("us")
    assert table.height and table.null_count().sum_horizontal().item() == 0
    assert not table.select("patient_id", "label_code").is_duplicated().any()
    assert set(table["label_value"]) <= {0, 1}
    explained = [sample for samples in labels.undefined.values() for sample in samples]
    assert len(explained) == len(set(explained))
    assert set(table["patient_id"]).isdisjoint(explained)
    assert set(table["patient_id"]) | set(explained) == set(hospital.cohort["patient_id"])
    assert task.question and isinstance(task.from_codes, bool)
    codes = (DEATH,) if task.timing else task.codes  # the labels of outcomes in time are made when label.csv is read
    assert codes is None or set(table["label_code"]) <= set(codes)
    assert task.codes is None or len(task.codes) == len(set(task.codes)) > 0


@pytest.mark.parametrize("plug", PLUGS)
def test_a_samples_labels_do_not_depend_on_who_else_is_in_the_cohort(plug: str, hospital: Hospital) -> None:
    everyone = labelled(plug, hospital.cohort, hospital)[1].table
    some = hospital.cohort.sample(fraction=0.4, seed=3, shuffle=True)
    expected = everyone.join(some, on="patient_id", how="semi").sort("patient_id", "label_code")
    assert labelled(plug, some, hospital)[1].table.sort("patient_id", "label_code").equals(expected)


@pytest.mark.parametrize("plug", PLUGS)
def test_labels_do_not_depend_on_the_order_of_the_cohort(plug: str, hospital: Hospital) -> None:
    backwards = hospital.cohort.reverse()
    tables = [labelled(plug, cohort, hospital)[1].table for cohort in (hospital.cohort, backwards)]
    assert tables[0].sort("patient_id", "label_code").equals(tables[1].sort("patient_id", "label_code"))
