"""Writes clinical notes: diseases (asserted, negated, of the family, hypothetical), and wording that carries the risk part N."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from emerge_ehr.datasets.sources.synthetic.hospital import Hospital
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import GeneratedGraph
from emerge_ehr.datasets.sources.synthetic.surface_forms import SURFACE_FORMS

# For each domain three sentences about a robust patient and three about a frail one; no word in them names a disease.
WORDING: tuple[tuple[tuple[str, str, str], tuple[str, str, str]], ...] = (
    (
        ("Walks independently in the hallway.", "Walks with steady gait.", "Out of bed and walks without assistance."),
        ("Unable to get out of bed.", "Bedbound, unable to stand.", "Remains bedbound, total assist."),
    ),
    (
        ("Good appetite, finished breakfast.", "Eating well, good appetite.", "Finished all meals, good appetite."),
        ("Refuses food, takes only sips.", "Takes sips only, refuses meals.", "Refuses trays, poor oral intake."),
    ),
    (
        ("Jokes with staff.", "Cheerful, jokes with visitors.", "Cheerful and chatting with staff."),
        ("Withdrawn, barely speaks.", "Withdrawn and listless.", "Listless, barely speaks."),
    ),
    (
        ("Well nourished.", "Well nourished, muscular build.", "Muscular build, well developed."),
        ("Cachectic appearance.", "Cachectic with temporal wasting.", "Frail, temporal wasting."),
    ),
    (
        ("Family discussing plans for home.", "Plans for home with family.", "Discharge home planned with family."),
        (
            "Family meeting about goals of care.",
            "Goals of care discussed with relatives.",
            "Goals of care meeting arranged.",
        ),
    ),
    (
        ("Strong hand grip.", "Strong cough and grip.", "Grip strong on both sides."),
        ("Feeble hand grip.", "Feeble effort, cannot lift arms.", "Cannot lift arms off the mattress."),
    ),
    (
        ("Slept soundly overnight.", "Slept well, rested.", "Rested, slept soundly."),
        ("Moaning overnight.", "Restless and moaning.", "Moaning with each turn."),
    ),
    (
        ("Skin warm and intact.", "Skin intact.", "Skin warm, intact on rounds."),
        ("Sacral breakdown noted.", "Skin mottled, sacral breakdown.", "Mottled knees."),
    ),
    (
        ("Used incentive spirometer often.", "Uses incentive spirometer by himself.", "Incentive spirometer hourly."),
        ("Needs frequent suctioning.", "Frequent suctioning, pooled secretions.", "Pooled secretions."),
    ),
    (
        ("Lives alone, drives.", "Still drives and works part-time.", "Works part-time, lives alone."),
        ("Nursing home resident.", "Dependent nursing home resident.", "Dependent for all activities."),
    ),
    (
        (
            "Physical therapy cleared stairs.",
            "Climbed stairs with therapy.",
            "Therapy session tolerated, climbed stairs.",
        ),
        ("Therapy deferred, too weak.", "Too weak for therapy.", "Therapy session deferred."),
    ),
    (
        ("Asks to go home.", "Eager, asks about going home.", "Eager to leave."),
        ("Chaplain visited at bedside.", "Chaplain and palliative team visited.", "Palliative team consulted."),
    ),
)
REASONS = ("Transferred from the ward.", "Brought in by ambulance.", "Admitted from the emergency department.")
ASSERTED = ("{} on treatment.", "Known {}.", "Patient has {}.", "Assessment: {}, continue current therapy.")
NEGATED = ("No evidence of {}.", "Denies history of {}.", "Negative for {}.", "No signs of {}.")
FAMILY = ("Family history: mother with {}.", "Family history: father had {}.", "Family history of {} in a brother.")
HYPOTHETICAL = ("At risk for {}.", "Will evaluate for possible {} if needed.", "Return if symptoms of {} develop.")
DISTRACTORS = {1: NEGATED, 2: FAMILY, 3: HYPOTHETICAL}
ROUTINE = (
    "Lines in place.",
    "Labs drawn.",
    "Medications reviewed.",
    "Repositioned as scheduled.",
    "Call light in reach.",
)
RADIOLOGY = (
    "Portable film. Lines in standard position.",
    "Film obtained. No acute change.",
    "Study limited by motion.",
)


def notes(hospital: Hospital, graph: GeneratedGraph, rng: np.random.Generator) -> pl.DataFrame:
    """``note/notes.csv``. The first 48 hours hold everything that bears on the risk; the discharge summary tells the outcome."""
    rows = [row for stay in range(len(hospital)) for row in _stay_notes(hospital, graph, stay, rng)]
    columns = {"stay": pl.Int64, "note_type": pl.String, "minutes": pl.Int64, "text": pl.String}
    table = pl.DataFrame(rows, schema=columns, orient="row")
    stay = table["stay"].to_numpy()
    opened = hospital.intime[stay].astype("datetime64[us]")
    table = table.with_columns(
        subject_id=pl.Series(hospital.subject_id[stay]),
        hadm_id=pl.Series(hospital.hadm_id[stay]),
        charttime=pl.Series(opened).dt.truncate("1m") + pl.duration(minutes=pl.col("minutes")),
    ).sort("subject_id", "charttime", "note_type")
    return table.with_columns(
        note_seq=pl.int_range(1, pl.len() + 1).over("subject_id"),
        note_id=pl.format("{}-SN-{}", "subject_id", pl.int_range(1, pl.len() + 1).over("subject_id")),
    ).select("note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "text")


def _stay_notes(
    hospital: Hospital, graph: GeneratedGraph, stay: int, rng: np.random.Generator
) -> list[tuple[int, str, int, str]]:
    """A stay's notes as rows: ``stay``, ``note_type``, minutes after ICU admission, ``text``."""
    names = [disease.name for disease in graph.diseases]
    asserted = [names[column] for column in rng.permutation(np.flatnonzero(hospital.asserted[stay]))]
    distractors = hospital.distractors[stay]
    others = [_distract(names[column], int(distractors[column]), rng) for column in np.flatnonzero(distractors)]
    wording = _wording(hospital, stay, rng)
    half = len(others) // 2
    history = asserted[:2]
    admission = [
        _pick(REASONS, rng),
        f"Past medical history: {', '.join(_form(name, rng) for name in history)}.",
        *(_pick(ASSERTED, rng).format(_form(name, rng)) for name in asserted[2:]),
        *others[:half],
        *wording[:4],
    ]
    # Asserted diseases and distractors are repeated equally often, so that the number of mentions does not distinguish them.
    repeated = [_pick(ASSERTED, rng).format(_form(name, rng)) for name in asserted if rng.random() < 0.4]
    again = [column for column in np.flatnonzero(distractors) if rng.random() < 0.4]
    repeated += [_distract(names[column], int(distractors[column]), rng) for column in again]
    first = _shuffled([*wording[4:8], *others[half:], *repeated, _pick(ROUTINE, rng)], rng)
    second = _shuffled([*wording[8:], _pick(ROUTINE, rng), _pick(ROUTINE, rng)], rng)
    hours = hospital.los_hours[stay]
    last = int((hospital.dischtime[stay] - hospital.intime[stay]).astype(np.int64) // 60)
    written = [
        ("Admission note", int(rng.integers(30, 300)), admission),
        ("Radiology", int(rng.integers(60, 24 * 60)), [_pick(RADIOLOGY, rng)]),
        ("Progress note", int(rng.integers(8 * 60, 22 * 60)), first),
        ("Progress note", int(rng.integers(26 * 60, 46 * 60)), second),
        ("Progress note", int(rng.integers(50 * 60, 70 * 60)), [_pick(ROUTINE, rng), *wording[:2], "Plan unchanged."]),
    ]
    rows = [(stay, kind, minute, _sentences(text)) for kind, minute, text in written if minute < hours * 60]
    return [*rows, (stay, "Discharge summary", last, _sentences(_discharge(hospital, stay, asserted, rng)))]


def _distract(name: str, kind: int, rng: np.random.Generator) -> str:
    return _pick(DISTRACTORS[kind], rng).format(_form(name, rng))


def _wording(hospital: Hospital, stay: int, rng: np.random.Generator) -> list[str]:
    """One sentence per domain, in the order of the domains."""
    states = hospital.wording[stay]
    return [_pick(WORDING[domain][int(state > 0)], rng) for domain, state in enumerate(states)]


def _discharge(hospital: Hospital, stay: int, asserted: Sequence[str], rng: np.random.Generator) -> list[str]:
    diagnoses = ", ".join(_form(name, rng) for name in asserted)
    outcome = "Patient expired in the hospital." if hospital.died[stay] else "Discharged alive in stable condition."
    return [f"Discharge diagnoses: {diagnoses}.", outcome]


def _form(name: str, rng: np.random.Generator) -> str:
    """The disease as a clinician writes it: half of the time its plain name, otherwise one of its other forms."""
    forms = SURFACE_FORMS[name]
    form = forms[0] if rng.random() < 0.5 else forms[int(rng.integers(1, len(forms)))]
    if any(letter.isupper() for letter in form):
        return form
    return (form, form.capitalize(), form.title(), form.upper())[int(rng.choice(4, p=[0.7, 0.15, 0.1, 0.05]))]


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _shuffled(sentences: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [sentences[index] for index in rng.permutation(len(sentences))]


def _sentences(sentences: Sequence[str]) -> str:
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)
