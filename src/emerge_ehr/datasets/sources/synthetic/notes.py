"""Writes clinical notes: diseases (asserted, negated, of the family, hypothetical), and wording that carries the risk part N."""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from emerge_ehr.datasets.sources.synthetic.hospital import Hospital
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import GeneratedGraph
from emerge_ehr.datasets.sources.synthetic.long_notes import Note, Sentence, laid_out
from emerge_ehr.datasets.sources.synthetic.phrases import Phrases

NEGATED, FAMILY, HYPOTHETICAL = 1, 2, 3  # of Hospital.distractors


def notes(
    hospital: Hospital,
    graph: GeneratedGraph,
    phrases: Phrases,
    rng: np.random.Generator,
    layout: np.random.Generator | None = None,
) -> pl.DataFrame:
    """``note/notes.csv``. The first 48 hours hold everything that bears on the risk; the discharge summary tells the outcome.

    ``layout`` draws what stands around the planted sentences of long notes; without it these are the whole note.
    """
    rows = []
    for stay in range(len(hospital)):
        of_stay = _stay_notes(hospital, graph, stay, phrases, rng)
        texts = laid_out(of_stay, phrases, layout) if layout else [_joined(note.sentences) for note in of_stay]
        rows += [(stay, note.kind, note.minute, text) for note, text in zip(of_stay, texts, strict=True)]
    columns = {"stay": pl.Int64, "note_type": pl.String, "minutes": pl.Int64, "text": pl.String}
    table = pl.DataFrame(rows, schema=columns, orient="row")
    stay_of = table["stay"].to_numpy()
    opened = hospital.intime[stay_of].astype("datetime64[us]")
    table = table.with_columns(
        subject_id=pl.Series(hospital.subject_id[stay_of]),
        hadm_id=pl.Series(hospital.hadm_id[stay_of]),
        charttime=pl.Series(opened).dt.truncate("1m") + pl.duration(minutes=pl.col("minutes")),
    ).sort("subject_id", "charttime", "note_type")
    return table.with_columns(
        note_seq=pl.int_range(1, pl.len() + 1).over("subject_id"),
        note_id=pl.format("{}-SN-{}", "subject_id", pl.int_range(1, pl.len() + 1).over("subject_id")),
    ).select("note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "text")


def _stay_notes(
    hospital: Hospital, graph: GeneratedGraph, stay: int, phrases: Phrases, rng: np.random.Generator
) -> list[Note]:
    """A stay's notes, those of one kind in order of time."""
    names = [disease.name for disease in graph.diseases]
    asserted = [names[column] for column in rng.permutation(np.flatnonzero(hospital.asserted[stay]))]
    distractors = hospital.distractors[stay]
    mentioned = np.flatnonzero(distractors)
    others = [_distract(names[column], int(distractors[column]), phrases, rng) for column in mentioned]
    wording = _wording(hospital, stay, phrases, rng)
    half = len(others) // 2
    history = asserted[:2]
    admission = [
        Sentence("reason", _pick(phrases.reasons, rng)),
        Sentence("history", f"{phrases.history}: {', '.join(_form(name, phrases, rng) for name in history)}."),
        *(_assert(name, phrases, rng) for name in asserted[2:]),
        *others[:half],
        *wording[:4],
    ]
    # Asserted diseases and distractors are repeated equally often, so that the number of mentions does not distinguish them.
    repeated = [_assert(name, phrases, rng) for name in asserted if rng.random() < 0.4]
    again = [column for column in mentioned if rng.random() < 0.4]
    repeated += [_distract(names[column], int(distractors[column]), phrases, rng) for column in again]
    first = _shuffled([*wording[4:8], *others[half:], *repeated, _routine(phrases, rng)], rng)
    second = _shuffled([*wording[8:], _routine(phrases, rng), _routine(phrases, rng)], rng)
    hours = hospital.los_hours[stay]
    last = int((hospital.dischtime[stay] - hospital.intime[stay]).astype(np.int64) // 60)
    unchanged = Sentence("care", phrases.unchanged)
    written = [
        Note("Admission note", int(rng.integers(30, 300)), admission),
        Note("Radiology", int(rng.integers(60, 24 * 60)), [Sentence("film", _pick(phrases.radiology, rng))]),
        Note("Progress note", int(rng.integers(8 * 60, 22 * 60)), first),
        Note("Progress note", int(rng.integers(26 * 60, 46 * 60)), second),
        Note("Progress note", int(rng.integers(50 * 60, 70 * 60)), [_routine(phrases, rng), *wording[:2], unchanged]),
    ]
    kept = [note for note in written if note.minute < hours * 60]
    diagnoses = ", ".join(_form(name, phrases, rng) for name in asserted)
    outcome = phrases.expired if hospital.died[stay] else phrases.alive
    end = [Sentence("end", f"{phrases.diagnoses}: {diagnoses}."), Sentence("end", outcome)]
    return [*kept, Note("Discharge summary", last, end)]


def _assert(name: str, phrases: Phrases, rng: np.random.Generator) -> Sentence:
    return Sentence("disease", _pick(phrases.asserted, rng).format(_form(name, phrases, rng)))


def _distract(name: str, kind: int, phrases: Phrases, rng: np.random.Generator) -> Sentence:
    templates = {NEGATED: phrases.negated, FAMILY: phrases.family, HYPOTHETICAL: phrases.hypothetical}[kind]
    text = _pick(templates, rng).format(_form(name, phrases, rng))
    return Sentence("family" if kind == FAMILY else "disease", text)


def _wording(hospital: Hospital, stay: int, phrases: Phrases, rng: np.random.Generator) -> list[Sentence]:
    """One sentence per domain, in the order of the domains."""
    states = hospital.wording[stay]
    domains = zip(phrases.wording, states, strict=True)
    return [Sentence("care", _pick(sentences[int(state > 0)], rng)) for sentences, state in domains]


def _routine(phrases: Phrases, rng: np.random.Generator) -> Sentence:
    return Sentence("care", _pick(phrases.routine, rng))


def _form(name: str, phrases: Phrases, rng: np.random.Generator) -> str:
    """The disease as a clinician of the site writes it: its plain name, or one of its other forms."""
    forms = phrases.forms[name]
    form = forms[0] if rng.random() < phrases.plain else forms[int(rng.integers(1, len(forms)))]
    if any(letter.isupper() for letter in form):
        return form
    return (form, form.capitalize(), form.title(), form.upper())[int(rng.choice(4, p=[0.7, 0.15, 0.1, 0.05]))]


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _shuffled(sentences: Sequence[Sentence], rng: np.random.Generator) -> list[Sentence]:
    return [sentences[index] for index in rng.permutation(len(sentences))]


def _joined(sentences: Iterable[Sentence]) -> str:
    return " ".join(text[0].upper() + text[1:] for _, text in sentences)
