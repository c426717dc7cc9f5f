"""Long notes: as long as real ones, with the same planted facts, whose status the extractor reads as it does in short notes."""

import re
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from emerge_ehr.datasets.sources.synthetic import Options
from emerge_ehr.datasets.sources.synthetic.generate import generate, hospital_and_rounds
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.datasets.sources.synthetic.long_notes import LONGEST, SHORTEST, filling
from emerge_ehr.datasets.sources.synthetic.sites import SITES
from emerge_ehr.graphs import primekg
from emerge_ehr.rag.entities import Entity, rules
from emerge_ehr.rag.names import normal

STAYS = 80
Read = Callable[[list[str]], list[list[Entity]]]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    folder = tmp_path_factory.mktemp("graph")
    write_graph(load_graph(), folder)
    extractor = rules.build(rules.Options(), graph=primekg.build(primekg.Options(), folder=folder))
    return lambda texts: [list(extraction.entities) for extraction in extractor.extract(texts)]


@pytest.fixture(scope="module", params=sorted(SITES))
def site(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def notes(site: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The notes of the same patients, short and long."""
    tables = {}
    for length in ("short", "long"):
        folder = tmp_path_factory.mktemp(length)
        generate(folder, Options(STAYS, site=site, notes=length), 2)  # type: ignore[arg-type]
        tables[length] = pl.read_csv(folder / "note/notes.csv.gz")
    return tables


def test_every_long_note_has_two_to_twenty_thousand_characters(notes: dict[str, pl.DataFrame]) -> None:
    lengths = notes["long"]["text"].str.len_chars()
    assert lengths.min() >= SHORTEST == 2_000 and lengths.max() <= LONGEST == 20_000  # type: ignore[operator]
    assert lengths.quantile(0.9) > 10_000  # type: ignore[operator]
    assert notes["short"].drop("text").equals(notes["long"].drop("text"))


def test_the_long_note_has_every_sentence_of_the_short_one(notes: dict[str, pl.DataFrame]) -> None:
    pairs = zip(notes["short"]["text"], notes["long"]["text"], strict=True)
    for short, long in pairs:
        for sentence in re.split(r"(?<=[.]) (?=[A-Z0-9#])", short):
            assert sentence in long


def test_progress_notes_hold_copies_of_the_notes_of_the_days_before(notes: dict[str, pl.DataFrame], site: str) -> None:
    header = SITES[site].phrases.headers["copied"]
    for _, stay in notes["long"].group_by("hadm_id", maintain_order=True):
        admission = stay.filter(pl.col("note_type") == "Admission note")["text"].item()
        care = admission.partition(f"{SITES[site].phrases.headers['care']}:\n")[2].partition("\n\n")[0]
        progress = stay.filter(pl.col("note_type") == "Progress note")["text"]
        if progress.len():
            assert header in progress[0] and care in progress[0] and header not in admission


def test_planted_diseases_are_read_and_no_distractor_becomes_the_patients(
    notes: dict[str, pl.DataFrame], site: str, read: Read
) -> None:
    hospital, _ = hospital_and_rounds(Options(STAYS, site=site), 2)  # type: ignore[arg-type]
    names = [normal(disease.name.removesuffix(" (disease)")) for disease in load_graph().diseases]
    table = notes["long"].filter(pl.col("note_type") != "Discharge summary")
    found: dict[int, set[str]] = {int(stay): set() for stay in hospital.hadm_id}
    for stay, entities in zip(table["hadm_id"], read(table["text"].to_list()), strict=True):
        found[stay] |= {normal(entity.name) for entity in entities if entity.linked}
    missed = wrong = asserted = distractors = 0
    for row in np.flatnonzero(hospital.los_hours >= 48):
        own = {names[column] for column in np.flatnonzero(hospital.asserted[row])}
        others = {names[column] for column in np.flatnonzero(hospital.distractors[row])}
        of_stay = found[int(hospital.hadm_id[row])]
        assert of_stay <= own | others  # nothing in the text around them is read as a disease
        missed, wrong = missed + len(own - of_stay), wrong + len(others & of_stay)
        asserted, distractors = asserted + len(own), distractors + len(others)
    assert asserted > 250 and missed / asserted < 0.01
    assert distractors > 400 and wrong / distractors < 0.005


def test_the_text_around_the_planted_sentences_names_no_disease(read: Read) -> None:
    lines = [line for each in filling().lines.values() for line in each]
    assert [entity for entities in read(lines) for entity in entities if entity.linked] == []


def test_no_line_beside_a_disease_changes_how_its_names_are_read(site: str, read: Read) -> None:
    """Abbreviations mean other things beside some words: TTP in "back: TTP" is a tenderness."""
    phrases = SITES[site].phrases
    planted = [phrases.asserted[1].format(form) for each in phrases.forms.values() for form in each]
    beside = [line for section in ("present", "events", "care") for line in filling().lines[section]]
    texts = [f"{line} {sentence} {line}" for line in beside for sentence in planted]
    wrong = [text for text, entities in zip(texts, read(texts), strict=True) if len(entities) != 1]
    assert wrong == []
