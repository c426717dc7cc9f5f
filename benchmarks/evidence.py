"""Does the cited evidence matter? Deletions against the planted truth of generated hospitals (docs/evidence_diseases.md).

    python -m benchmarks.evidence --seeds 1 2
    python -m benchmarks.evidence --seeds 1 --interactions 1.6

Trains the default method with so many --members on each hospital, unless the run is there, and takes things out of what it read
of the patients of the test split, one at a time. The generator knows what each does to the true log-odds of death: a disease
fewer, or a series without its drift. *Planted* is what changes these by --planted or more; a signal is planted where it carries
the drift, of which it is one of six witnesses.

Prints for each kind of deletion: the share of the planted that move the predicted log-odds the right way, with the interval over
persons; the change in log-odds (median of its size, and the shares above 0.1 and 0.25); its rank correlation with the true
change; and the same share among those on whose direction the members agree, which alone the report shows. *1 or more* are those
among the planted whose true change is as large as that of a disease, *turned around* those that do by interaction the contrary
of what they would do in a sum. Then the median change
by planted diseases, by how many of the patient's diseases are planted.
"""

import argparse
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.rivals import Case, generated, persons_of, prepare
from emerge_ehr.datasets.sources.synthetic import Options
from emerge_ehr.datasets.sources.synthetic.generate import hospital_and_rounds
from emerge_ehr.datasets.sources.synthetic.hospital import Hospital
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import GeneratedGraph, load_graph
from emerge_ehr.datasets.sources.synthetic.phrases import PHRASES
from emerge_ehr.datasets.sources.synthetic.risk import Risk
from emerge_ehr.fields import UserError
from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import ordinary, passages, what_if
from emerge_ehr.prediction.ordinary import Ordinary
from emerge_ehr.prediction.what_if import Told
from emerge_ehr.preprocess import fitted
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.rag import records as rag
from emerge_ehr.rag import records_file
from emerge_ehr.rag.summaries import OfManifestations, OfNotes, OfSignal, Statement
from emerge_ehr.storage import schema, table_files
from emerge_ehr.training import trained as runs
from emerge_ehr.training.trained import Trained

Array = NDArray[np.float64]
PAIRS = 2048
RESAMPLES = 1000
PRESSURES = [f"{which}_blood_pressure" for which in ("systolic", "diastolic", "mean")]
DRIFTING = ("heart_rate", "respiratory_rate", "oxygen_saturation", *PRESSURES)


@dataclass(frozen=True)
class Tested:
    """A run with N patients, those of its test split, and what their texts were made from. ``row`` [N]: theirs in the
    ``hospital``."""

    trained: Trained
    fitted: Fitted
    ordinary: Ordinary
    batch: Batch
    told: list[Told]
    persons: list[str]
    hospital: Hospital
    row: NDArray[np.int64]
    risk: Risk
    graph: GeneratedGraph


@dataclass(frozen=True)
class Deletion:
    """Something less of a patient (by number): other notes, another summary, the ordinary course of the signal ``code``; None
    where it stays. ``true``: by how much what was deleted changed the true log-odds; ``added``: by how much it would have, if the
    parts of the risk only added up."""

    patient: int
    true: float
    added: float
    notes: str | None = None
    summary: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class Found:
    """What D deletions did: the ``person`` of each, by how much what was deleted had changed the members' log-odds [M,D], and
    the true ones [D]. ``reverse`` [D]: whether the other parts of the risk turn its effect around."""

    person: NDArray[np.str_]
    change: Array
    true: Array
    reverse: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> "Found":
        """Those ``chosen`` [D]."""
        return Found(self.person[chosen], self.change[:, chosen], self.true[chosen], self.reverse[chosen])


def main() -> None:
    """Print both tables."""
    options = arguments(__doc__)
    hospitals = [tested(seed, options) for seed in options.seeds]
    print(
        f"{'what is deleted':<54}{'number':>7}   {'right way':<20}{'size':>7}{'>0.1':>6}{'>0.25':>7}{'rank':>7}"
        f"   agreed   right way of these"
    )
    every: dict[str, list[Found]] = {}
    for number, one in enumerate(hospitals):
        for name, deletions in {**cited(one), **otherwise(one), **uncited(one)}.items():
            found = tried(one, deletions, f"{number} ")
            size = np.abs(found.true)
            for kind, chosen in (
                (f"planted {name}", size >= options.planted),
                (f"planted {name}, 1 or more", size >= max(options.planted, 1.0)),
                (f"planted {name}, turned around", (size >= options.planted) & found.reverse),
                (f"{name}, little risk", (size > 0) & (size < options.planted)),
                (f"{name}, no risk", size == 0),
            ):
                every.setdefault(kind, []).append(found.where(chosen))
    for kind, each in every.items():
        found = Found(
            np.concatenate([one.person for one in each]),
            np.concatenate([one.change for one in each], axis=1),
            np.concatenate([one.true for one in each]),
            np.concatenate([one.reverse for one in each]),
        )
        if found.true.size:
            print(f"{kind:<54}{row(found)}", flush=True)
    print("\nmedian change by a disease      planted   no risk")
    for title, planted, others in by_share(hospitals, options.planted):
        print(f"{title:<32}{planted:>7}   {others:>7}")


def arguments(doc: str | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="generated hospitals")
    parser.add_argument("--stays", type=int, default=2000)
    parser.add_argument("--interactions", type=float, default=0.0)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--planted", type=float, default=0.5, help="least true change in log-odds of what is planted")
    parser.add_argument("--folder", type=Path, default=Path("data/rivals"))
    return parser.parse_args()


def tested(seed: int, options: argparse.Namespace) -> Tested:
    """A hospital with its finished run, which is trained if it is not there."""
    from emerge_ehr.training import inputs, train

    torch.set_num_threads(1)
    options.settings = f"training.members = {options.members}"
    case = generated(seed, options)
    prepare(case, generate=True)
    trained = finished(case)
    if trained is None:
        train.run(case.config())
        trained = runs.load(case.config().run_dir)
    config, names = trained.config, trained.dataset.split["test"]
    records = {record.patient_id: record for record in records_file.read(config.processed_dir, names)}
    notes = rag.joined_notes(table_files.read_table(config.table_dir, schema.NOTES), names)
    hospital, _ = hospital_and_rounds(Options(options.stays, interactions=options.interactions), seed)
    row_of = {str(stay): n for n, stay in enumerate(hospital.stay_id)}
    return Tested(
        trained,
        fitted.load(config.processed_dir / schema.FITTED, config.paths.cache_dir),
        ordinary.of(trained),
        inputs.mapped(trained.dataset, "test").whole(),
        [Told(text, records[name]) for text, name in zip(notes, names, strict=True)],
        persons_of(config, trained.dataset)["test"],
        hospital,
        np.array([row_of[name] for name in names]),
        Risk(interactions=options.interactions),
        load_graph(),
    )


def finished(case: Case) -> Trained | None:
    """The case's run; None if it is not there, or has another number of members."""
    config = case.config()
    try:
        trained = runs.load(config.run_dir)
    except UserError:
        return None
    return trained if trained.config.training.members == config.training.members else None


def cited(one: Tested) -> dict[str, list[Deletion]]:
    """The diseases and the abnormal signals that the summaries cite, deleted as ``predict`` and the report do it."""
    diseases, signals = [], []
    for n, told in enumerate(one.told):
        for node in told.record.nodes:
            summary = what_if.summary_without(told.record, node.node_index)
            notes = what_if.notes_without(told.notes or "", told.record, node.node_index)
            diseases.append(Deletion(n, *of_diseases(one, n, [node.node_index]), notes, summary))
        for code in what_if.abnormal(told.record):
            summary = what_if.summary_without_signal(told.record, code)
            signals.append(Deletion(n, *of_signal(one, n, code), summary=summary, code=code))
    return {"disease": diseases, "abnormal signal": signals, "passage of the notes": by_passage(one)}


def by_passage(one: Tested) -> list[Deletion]:
    """The passages of the notes, deleted as the report does it: those that alone mention a disease of the patient."""
    found = []
    for n, told in enumerate(one.told):
        for passage in passages.passages(told.notes or ""):
            columns = passages.known_alone(told.record, passage)
            if columns:
                notes = passages.notes_without(told.notes or "", passage)
                summary = passages.summary_without(told.record, passage)
                found.append(Deletion(n, *of_diseases(one, n, columns), notes, summary))
    return found


def otherwise(one: Tested) -> dict[str, list[Deletion]]:
    """The abnormal signals, deleted in two ways that were not chosen: in the series alone, and with every statement that rests
    on them, also those that join them to a disease."""
    alone, all_of_it = [], []
    for n, told in enumerate(one.told):
        for code in what_if.abnormal(told.record):
            true = of_signal(one, n, code)
            kept = [said.text for said in told.record.provenance if not rests_on(said, code)]
            alone.append(Deletion(n, *true, code=code))
            all_of_it.append(Deletion(n, *true, summary=" ".join(kept), code=code))
    return {"signal, in the series alone": alone, "signal, with all statements": all_of_it}


def rests_on(statement: Statement, code: str) -> bool:
    """Whether the statement rests on the signal, also together with a disease."""
    return any(
        (isinstance(item, OfSignal) and item.code == code)
        or (isinstance(item, OfManifestations) and code in item.codes)
        for item in statement.items
    )


def uncited(one: Tested) -> dict[str, list[Deletion]]:
    """Of each patient what the summary does not cite as the patient's: signals that are not abnormal; the first mention in the
    notes of a disease that is not the patient's, and their first routine sentence; and what the summary says of such diseases."""
    features = [feature["name"] for feature in one.trained.dataset.metadata["features"]]
    measured = one.batch.ehr_mask.any(dim=1)
    signals, mentions, sentences, asides = [], [], [], []
    for n, told in enumerate(one.told):
        notes, record = told.notes or "", told.record
        own = what_if.abnormal(record)
        signals += [
            Deletion(n, *of_signal(one, n, code), code=code)
            for f, code in enumerate(features)
            if code not in own and measured[n, f]
        ]
        spans = [(entity.start, entity.end) for entity in record.entities if entity.node_index is None][:1]
        mentions += [Deletion(n, 0.0, 0.0, notes[:start] + notes[end:]) for start, end in spans]
        routine = [sentence for sentence in PHRASES.routine if sentence in notes][:1]
        sentences += [Deletion(n, 0.0, 0.0, notes.replace(sentence, "", 1)) for sentence in routine]
        kept = [said.text for said in record.provenance if not isinstance(said.evidence, OfNotes)]
        if len(kept) < len(record.provenance):
            asides.append(Deletion(n, 0.0, 0.0, summary=" ".join(kept)))
    return {
        "signal, not cited": signals,
        "mention, not the patient's": mentions,
        "routine sentence of the notes": sentences,
        "diseases denied, or of relatives": asides,
    }


def of_diseases(one: Tested, n: int, columns: Collection[int]) -> tuple[float, float]:
    """By how much diseases (their numbers in the graph) change the log-odds of patient ``n``: the true ones, those of a sum."""
    stay = slice(int(one.row[n]), int(one.row[n]) + 1)
    series, without = one.hospital.series[stay], one.hospital.asserted[stay].copy()
    # beyond these are parents, which nobody has but by one of their own
    without[0, [column for column in columns if column < len(one.graph.diseases)]] = False
    return differences(one, stay, series, without)


def of_signal(one: Tested, n: int, code: str) -> tuple[float, float]:
    """By how much the drift changes the log-odds of patient ``n`` if the signal carries it, as ``of_disease``; 0 for others."""
    if code not in DRIFTING:
        return 0.0, 0.0
    stay = slice(int(one.row[n]), int(one.row[n]) + 1)
    return differences(one, stay, 0 * one.hospital.series[stay], one.hospital.asserted[stay])


def differences(one: Tested, stay: slice, series: Array, asserted: NDArray[np.bool_]) -> tuple[float, float]:
    """The log-odds of a stay minus those with this ``series`` part and these diseases: the true ones, and those of a sum."""
    hospital = one.hospital
    own, other = (hospital.series[stay], hospital.asserted[stay]), (series, asserted)
    true, added = (
        [float(risk.log_odds(part, hospital.wording[stay], diseases, one.graph)[0]) for part, diseases in (own, other)]
        for risk in (one.risk, Risk())
    )
    return true[0] - true[1], added[0] - added[1]


def changed(one: Tested, deletions: Sequence[Deletion]) -> Batch:
    """What the model reads of a patient after each of the ``deletions``, which are of one kind."""
    rows = one.batch.select(torch.tensor([deletion.patient for deletion in deletions]))
    codes = [deletion.code for deletion in deletions if deletion.code is not None]
    if codes:
        rows = what_if.with_ordinary(one.trained, rows, codes, one.ordinary)
    for name, encoder, texts in (
        ("note", one.fitted.note, [deletion.notes for deletion in deletions]),
        ("summary", one.fitted.summary, [deletion.summary for deletion in deletions]),
    ):
        if texts[0] is not None:
            embedded = torch.from_numpy(encoder.encode([text or "" for text in texts]))
            rows = dataclasses.replace(rows, **{f"{name}_embedding": embedded})
    return rows


def tried(one: Tested, deletions: Sequence[Deletion], hospital: str) -> Found:
    """What the deletions did; ``hospital`` sets its persons apart from those of others."""
    own = one.trained.of_members(one.batch)[..., 0].double()
    number = torch.tensor([deletion.patient for deletion in deletions])
    parts = [deletions[at : at + PAIRS] for at in range(0, len(deletions), PAIRS)]
    without = torch.cat([one.trained.of_members(changed(one, part))[..., 0].double() for part in parts], dim=1)
    persons = np.array([hospital + one.persons[deletion.patient] for deletion in deletions])
    true, added = (np.array([getattr(deletion, name) for deletion in deletions]) for name in ("true", "added"))
    return Found(persons, (own[:, number] - without).numpy(), true, true * added < 0)


def row(found: Found) -> str:
    """A row of the first table."""
    change = found.change.mean(axis=0)
    size, planted = np.abs(change), bool((found.true != 0).all())
    agreed = (np.sign(found.change) == np.sign(found.change[:1])).all(axis=0)
    rank = f"{correlation(change, found.true):.2f}" if planted and np.ptp(found.true) > 1e-9 else ""
    return (
        f"{len(size):>7}   {right_way(found) if planted else '':<20}{np.median(size):>7.3f}{(size > 0.1).mean():>6.2f}"
        f"{(size > 0.25).mean():>7.2f}{rank:>7}   {agreed.mean():>6.2f}   {right_way(found.where(agreed)) if planted else ''}"
    ).rstrip()


def right_way(found: Found) -> str:
    """The share of the changes in the direction of the truth, with the 95 % interval of the bootstrap over persons."""
    right = np.sign(found.change.mean(axis=0)) == np.sign(found.true)
    _, person = np.unique(found.person, return_inverse=True)
    of_person = np.stack([np.bincount(person, right), np.bincount(person)])
    many = of_person.shape[1]
    drawn = np.random.default_rng(0).multinomial(many, np.full(many, 1 / many), RESAMPLES)
    low, high = np.quantile((drawn @ of_person[0]) / (drawn @ of_person[1]), [0.025, 0.975])
    return f"{100 * right.mean():.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def correlation(first: Array, second: Array) -> float:
    """Spearman's."""
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def by_share(hospitals: Sequence[Tested], least: float) -> list[tuple[str, str, str]]:
    """By the number of a patient's diseases, and of those planted among them: the median changes by a planted one and by one
    without risk, where there are ten or more."""
    changes: Mapping[tuple[int, int], tuple[list[float], list[float]]] = {
        (many, some): ([], []) for many in (3, 4, 5) for some in range(many + 1)
    }
    for one in hospitals:
        deletions = cited(one)["disease"]
        change = tried(one, deletions, "").change.mean(axis=0)
        patient = np.array([deletion.patient for deletion in deletions])
        true = np.array([deletion.true for deletion in deletions])
        planted = np.abs(true) >= least
        for n in np.unique(patient):
            own = patient == n
            place = changes.get((int(own.sum()), int(planted[own].sum())))
            if place:
                place[0].extend(change[own & planted])
                place[1].extend(change[own & (true == 0)])
    cells = {
        place: [f"{np.median(one):+.2f}" if len(one) >= 10 else "" for one in both] for place, both in changes.items()
    }
    return [(f"{some} of {many} are planted", first, second) for (many, some), (first, second) in cells.items()]


if __name__ == "__main__":
    main()
