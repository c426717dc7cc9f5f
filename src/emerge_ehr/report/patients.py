"""The patient explorer: chooses which test patients are shown, and makes the view of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from emerge_ehr.evaluation import subgroups
from emerge_ehr.models.batch import Batch
from emerge_ehr.preprocess.inputs.landmarks import hour_of, stay_of
from emerge_ehr.rag import records_file as rag_records
from emerge_ehr.rag.patient_links import LeftOut
from emerge_ehr.rag.records_file import Record
from emerge_ehr.rag.summaries import OfPerson
from emerge_ehr.report import certainty, evidence, graph, series
from emerge_ehr.report.attention import Looked, looked
from emerge_ehr.report.changes import Change, changes
from emerge_ehr.report.material import Material, notes
from emerge_ehr.report.moved import Moved
from emerge_ehr.report.told_by_notes import ShownPassage
from emerge_ehr.report.wording import stated
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.storage.dataset import load_patients
from emerge_ehr.training import inputs


@dataclass(frozen=True)
class Known:
    """What is known of one patient besides the arrays; ``note`` is None if it is not available."""

    record: Record
    facts: tuple[str, ...]
    looked: Looked | None
    changes: tuple[Change, ...]
    moved: Moved
    passages: tuple[ShownPassage, ...]
    extremes: tuple[float, float] | None
    note: str | None
    over_time: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class View:
    """What the page shows of one patient. ``rank`` 1 is highest risk of the chosen label; ``risks`` and ``outcomes`` are those
    of all K labels. ``extremes``: the lowest and the highest risk of the chosen label by a member of the run; None where it has
    one member, or where the risks shown are those of other models (cross-validation). ``over_time``: with landmarks, each hour at
    which the stay was judged and the risk of the chosen label then. ``answer``: what the chosen label's set says, and the set;
    None for a run without sets."""

    key: str
    patient_id: str
    rank: int
    facts: tuple[str, ...]
    risks: tuple[float, ...]
    known: tuple[int, ...]  # 1, 0, or -1 where the outcome is not known
    outcomes: tuple[str, ...]
    signals: tuple[series.SignalFigure, ...]
    unmeasured: tuple[str, ...]
    hours: int
    looked: Looked | None
    note: tuple[evidence.Segment, ...] | None
    note_cut: bool
    mentions: dict[str, int]
    diseases: tuple[evidence.ShownDisease, ...]
    graph: graph.Graph | None
    statements: tuple[evidence.ShownStatement, ...]
    quotes: bool
    left_out: tuple[LeftOut, ...]
    changes: tuple[Change, ...]
    moved: Moved
    passages: tuple[ShownPassage, ...]
    extremes: tuple[float, float] | None
    abnormal: tuple[AbnormalSignal, ...]
    over_time: tuple[tuple[int, float], ...]
    answer: tuple[str, str] | None = None
    given: tuple[evidence.ShownDrug, ...] = ()


def ranked(material: Material) -> list[int]:
    """The rows of the test split, highest risk of the chosen label first; ties in the split's order."""
    order: list[int] = np.argsort(-material.test.probability[:, material.main.column], kind="stable").tolist()
    return order


def most_wrong(material: Material) -> list[int]:
    """The ranks, from 0, of the patient with the outcome at lowest risk, and of the one without it at highest risk."""
    outcome, known = (values[:, material.main.column] for values in (material.test.label, material.test.defined))
    order = ranked(material)
    missed = [rank for rank, row in enumerate(order) if known[row] and outcome[row] > 0]
    alarmed = [rank for rank, row in enumerate(order) if known[row] and outcome[row] <= 0]
    return [*missed[-1:], *alarmed[:1]]


def chosen(patients: int, most: int, also: Sequence[int] = ()) -> list[int]:
    """The ranks to show, from 0: all if there are at most ``most`` patients. Else half of the ``most`` are the highest ranks, and
    the others are spread evenly over the rest, but for those in ``also``, which are among them.

    >>> chosen(10, 4), chosen(10, 4, also=[5])
    ([0, 1, 6, 9], [0, 1, 5, 9])
    """
    if patients <= most:
        return list(range(patients))
    highest = (most + 1) // 2
    rest = np.linspace(highest, patients - 1, most - highest + 1).round().astype(int)[1:]
    spread: list[int] = rest.tolist()
    for rank in also:
        if rank >= highest and rank not in spread and len(spread) > len(also):
            spread[min(range(len(spread)), key=lambda n: abs(spread[n] - rank))] = rank
    return [*range(highest), *sorted(spread)]


def views(material: Material, ranks: Sequence[int]) -> list[View]:
    """The views of the patients of these ranks.

    Raises:
        UserError: the artefacts do not fit the run.
    """
    dataset, config = material.trained.dataset, material.config
    rows = np.array(ranked(material))[list(ranks)]
    names = [material.test.patient_id[row] for row in rows]
    by_name = {record.patient_id: record for record in rag_records.read(config.processed_dir, names)}
    records = [by_name[name] for name in names]
    texts = notes(material, names)
    batch = inputs.mapped(dataset, "test").select(torch.from_numpy(rows))
    facts, attention = _facts(material, names, records), looked(material, batch)
    changed, of_series, of_notes = changes(material, batch, records, texts)
    extremes, over_time = _extremes(material, batch), _over_time(material, names)
    known = [
        Known(
            record=records[n],
            facts=facts[n],
            looked=attention[n],
            changes=changed[n],
            moved=of_series[n],
            passages=of_notes[n],
            extremes=extremes[n],
            note=(texts or {}).get(name),
            over_time=over_time[n],
        )
        for n, name in enumerate(names)
    ]
    scale = series.scale(material.metadata, config.abnormal.threshold, config.cohort.bin_hours)
    return [
        _view(material, scale, batch.select(torch.tensor([n])), (rank, row), known[n])
        for n, (rank, row) in enumerate(zip(ranks, rows.tolist(), strict=True))
    ]


def _view(material: Material, scale: series.SignalScale, batch: Batch, place: tuple[int, int], known: Known) -> View:
    """The view of the one patient in ``batch``; ``place`` is the patient's rank, from 0, and row in the test split."""
    (rank, row), record, note = place, known.record, known.note
    ehr, mask, length = batch.ehr[0].numpy(), batch.ehr_mask[0].numpy() > 0, int(batch.ehr_length[0])
    signals, unmeasured = series.signals(scale, ehr, mask, length)
    diseases = evidence.diseases(record)
    test, shown = material.test, material.shows_notes
    values = [int(value) if here else None for value, here in zip(test.label[row], test.defined[row], strict=True)]
    return View(
        key=f"p{rank + 1}",
        patient_id=record.patient_id,
        rank=rank + 1,
        facts=known.facts,
        risks=tuple(test.probability[row].tolist()),
        known=tuple(-1 if value is None else value for value in values),
        outcomes=tuple(label.outcome(value) for label, value in zip(material.labels, values, strict=True)),
        signals=tuple(signals),
        unmeasured=tuple(unmeasured),
        hours=ehr.shape[0],
        looked=known.looked,
        note=tuple(evidence.segments(note, record)) if note is not None and shown else None,
        note_cut=note is not None and len(note) > evidence.LONGEST_NOTE,
        mentions={status: sum(entity.status == status for entity in record.entities) for status in evidence.STATUSES},
        diseases=tuple(diseases),
        graph=graph.graph(diseases),
        statements=tuple(evidence.statements(record, with_quotes=shown)),
        quotes=not shown and any(statement.quotes for statement in record.provenance),
        left_out=record.left_out,
        changes=known.changes,
        moved=known.moved,
        passages=known.passages,
        extremes=known.extremes,
        abnormal=record.abnormal_signals,
        over_time=known.over_time,
        answer=certainty.answer(material, row),
        given=evidence.given(record),
    )


def _extremes(material: Material, batch: Batch) -> list[tuple[float, float] | None]:
    """The lowest and the highest risk of each patient by a member; None as in ``View``."""
    if len(material.trained.members) == 1 or material.metrics.get("folds"):
        return [None] * len(batch)
    risks = material.trained.risks(material.trained.of_members(batch))[..., material.main.column]
    return list(zip(risks.min(axis=0).tolist(), risks.max(axis=0).tolist(), strict=True))


def _over_time(material: Material, names: Sequence[str]) -> list[tuple[tuple[int, float], ...]]:
    """For each sample the hours at which its stay was judged, each with the risk of the chosen label; empty without landmarks."""
    if not material.config.cohort.landmarks:
        return [()] * len(names)
    risks = material.test.probability[:, material.main.column].tolist()
    of_stay: dict[str, list[tuple[int, float]]] = {}
    for sample, risk in zip(material.test.patient_id, risks, strict=True):
        of_stay.setdefault(stay_of(sample), []).append((hour_of(sample), risk))
    return [tuple(sorted(of_stay[stay_of(name)])) for name in names]


def _facts(material: Material, names: Sequence[str], records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Age, sex, ethnicity and ICU type, as far as they are known."""
    table = load_patients(material.config.processed_dir, np.array(names, dtype=np.str_))
    if table is None:
        table = pl.DataFrame([_opening(record) for record in records], schema={"age": pl.Float64, "sex": pl.String})
    return [tuple(_words(row)) for row in table.iter_rows(named=True)]


def _opening(record: Record) -> dict[str, Any]:
    """Age and sex from the summary's statement about the person; None where it has none."""
    persons = [item for said in record.provenance for item in said.items if isinstance(item, OfPerson)]
    return {"age": persons[0].age, "sex": persons[0].sex} if persons else {"age": None, "sex": None}


def _words(row: Mapping[str, Any]) -> list[str]:
    sex = {"F": "woman", "M": "man"}.get(row["sex"] or "", "sex not known")
    age = "age not known" if row["age"] is None else f"{row['age']:.0f} years"
    origin, unit = ((row.get(name) or "").strip() for name in ("ethnicity", "icu_type"))
    if origin and subgroups.ethnicity(origin) == subgroups.UNKNOWN:
        origin = "ethnicity not known"
    return [sex, age, *(text for text in (stated(origin), unit) if text)]
