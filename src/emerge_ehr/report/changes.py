"""What each patient's risk becomes without a modality, a signal, some of its hours, a disease, or a passage of the notes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import donors, ordinary, what_if
from emerge_ehr.preprocess import fitted
from emerge_ehr.rag.records_file import Record
from emerge_ehr.report import moved, told_by_notes
from emerge_ehr.report.material import Material
from emerge_ehr.report.moved import Moved
from emerge_ehr.report.told_by_notes import ShownPassage
from emerge_ehr.report.wording import MODALITIES
from emerge_ehr.signals.signals import described
from emerge_ehr.storage.schema import FITTED

TELLING = 0.01  # an input that changes the risk by this much is named as a reason


@dataclass(frozen=True)
class Change:
    """What the risk becomes without a modality, a disease or a signal. ``disease``: its number in the view, and
    ``signal``: its code; None for the others. ``agreed``: as in ``what_if.Without``; a modality's change always counts."""

    words: str
    risk: float
    change: float
    disease: int | None = None
    signal: str | None = None
    agreed: bool = True


def changes(
    material: Material, batch: Batch, records: Sequence[Record], texts: Mapping[str, str] | None
) -> tuple[list[tuple[Change, ...]], list[Moved], list[tuple[ShownPassage, ...]]]:
    """For each patient, what the chosen label's risk becomes without each modality, signal and disease; and what of the series
    and of the notes moved it. Signals are the abnormal ones, and others that change the risk by ``TELLING`` or more."""
    trained, config, column = material.trained, material.config, material.main.column
    own = trained.of_members(batch)
    base = trained.together(own)[:, column].tolist()
    rows: list[list[Change]] = [[] for _ in records]
    for name, risks in donors.without_modalities(trained, batch, donors.of(trained)).items():
        for n, risk in enumerate(risks[:, column].tolist()):
            rows[n].append(Change(MODALITIES[name], risk, risk - base[n]))
    encoders = fitted.load(config.processed_dir / FITTED, config.paths.cache_dir) if material.reads_texts else None
    sources = [what_if.Told((texts or {}).get(record.patient_id), record) for record in records]
    abnormal, courses = [what_if.abnormal(record) for record in records], ordinary.of(trained)
    asked = moved.asked_signals(material, batch, abnormal)
    signals = what_if.without_signals(trained, encoders, batch, sources, courses, own, asked)
    of_series = moved.moved(material, batch, own, signals, courses)
    diseases = what_if.without_diseases(trained, encoders, batch, sources, own)
    for n, record in enumerate(records):
        rows[n] += [
            Change(described(code).label, risk, change, signal=code, agreed=agreed)
            for code in moved.rows(of_series[n], abnormal[n], TELLING)
            for risk, change, agreed in [of_series[n].signals[code]]
        ]
        rows[n] += [
            Change(node.name, risk, change, number, agreed=agreed)
            for number, node in enumerate(record.nodes)
            if (without := diseases[n].get(node.node_index)) is not None
            for risk, change, agreed in [moved.told_of(without, column, base[n])]
        ]
    return [tuple(row) for row in rows], of_series, told_by_notes.told(material, encoders, batch, sources, own)
