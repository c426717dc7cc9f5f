"""Accuracy and speed of the ``rules`` extractor: finding, linking and the status of disease mentions, beside others' ways.

    python -m benchmarks.entities --data FOLDER      # a few minutes
    python -m benchmarks.entities --data FOLDER --skip-speed \\
        --peer negspacy/bin/python benchmarks/mentions/status_by_negspacy.py \\
        --peer medspacy/bin/python benchmarks/mentions/status_by_medspacy.py

FOLDER holds primekg-open/, mimic-iv-demo-2.2/hosp/, ncbi-disease/ and bc5cdr/; the test sets of the latter two are read if
they are there. The tables are printed as docs/entities_results.md and the pages beside it have them. Finding and linking
stand beside plain string matching: every name of the graph, whole words, any case, longest first. The status, in our own
cases (status_cases.csv) and with ``--negex`` in the test set of NegEx (rsAnnotations-1-120-random.txt), stands beside other
programs. These are no dependencies of the project: each runs in an environment of its own, since these two need different
versions of spaCy. Neither needs a model of spaCy:

    python3.11 -m venv negspacy && negspacy/bin/pip install negspacy==1.1.0 spacy==3.8.18
    python3.11 -m venv medspacy && medspacy/bin/pip install medspacy==1.3.1 spacy==3.7.5 PyRuSH==1.0.13

A peer is told where each mention stands, and says its status: a script that reads JSON objects with ``text``, ``start`` and
``end``, one per line, and writes one with its ``name`` and then one with the ``status`` of each mention. A further script adds a
further peer.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.linking_titles import gold
from benchmarks.mentions import linking as links
from benchmarks.mentions import status
from emerge_ehr.compute.local import Local
from emerge_ehr.config import Linking
from emerge_ehr.graphs import Disease, Edges, KnowledgeGraph, Triple
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag import linking
from emerge_ehr.rag.entities import rules

NOTE = """Name:  ___                     Unit No:   ___

Admission Date:  ___              Discharge Date:   ___

Date of Birth:  ___             Sex:   M

Service: MEDICINE

Allergies:
Penicillins / lisinopril

Chief Complaint:
Shortness of breath, lower extremity swelling

History of Present Illness:
Mr. ___ is a 71 year old man with a history of CAD s/p CABG, HFrEF (EF 30%),
atrial fibrillation on warfarin, COPD on 2L home O2 and CKD stage III who
presents with three days of worsening dyspnea. He denies chest pain, fevers, cough
or hemoptysis. He reports missing several doses of torsemide while traveling to
see his daughter. In the ED, initial vitals were 97.8, 104, 138/82, 24, 91% on 4L.
Exam was notable for JVD to the angle of the jaw and bibasilar crackles. CXR
showed moderate pulmonary edema without evidence of pneumonia or
pneumothorax. BNP was 8,420, troponin 0.03, creatinine 2.4 from baseline of 1.6.
He received furosemide 80 mg IV and nebulizers and was admitted to the floor.

Past Medical History:
1. Coronary artery disease
2. Hypertension
3. Hyperlipidemia
4. Type II diabetes mellitus complicated by neuropathy
5. Gout

Social History:
___
Family History:
Father died of a heart attack at 62. Mother had breast cancer. No family history
of sudden cardiac death.

Physical Exam:
VS: T 98.1 BP 126/74 HR 88 RR 20 O2 94% 3L
GENERAL: alert, sitting up in bed, speaking in full sentences
HEENT: sclerae anicteric, mucous membranes moist, oropharynx clear
NECK: supple, JVP 14 cm
CARDIAC: irregularly irregular, normal S1 and S2, II/VI systolic murmur at apex
LUNGS: crackles to the mid lung fields bilaterally, no wheezes
ABDOMEN: soft, nontender, nondistended, bowel sounds present
EXTREMITIES: warm, 2+ pitting edema to the knees bilaterally
NEURO: CN II-XII intact, strength 5/5 throughout, gait deferred

Pertinent Results:
___ 07:10AM BLOOD WBC-9.8 RBC-3.61* Hgb-10.2* Hct-31.9* MCV-88 Plt ___
___ 07:10AM BLOOD Glucose-188* UreaN-52* Creat-2.4* Na-134 K-4.9 Cl-98 HCO3-27
TTE: moderately dilated left ventricle with global hypokinesis, LVEF 30%. Moderate
mitral regurgitation. No pericardial effusion.

Brief Hospital Course:
# Acute on chronic systolic heart failure: diuresed with a furosemide drip and
transitioned to torsemide 60 mg daily. Weight down 7 kg at discharge.
# AKI on CKD: felt to be cardiorenal; creatinine improved to 1.7 with diuresis.
# COPD: no wheezing, continued home inhalers; low suspicion for exacerbation.
# Atrial fibrillation: rate controlled with metoprolol; INR therapeutic.
# DVT prophylaxis: on warfarin.

Discharge Instructions:
Weigh yourself every morning and call your doctor if your weight goes up by more
than three pounds. Return if you have chest pain or worsening shortness of breath.
"""


# What fills most of a real discharge summary: results, orders and instructions that name no disease.
RESULTS = """
___ 06:50AM BLOOD WBC-8.1 RBC-3.02* Hgb-9.4* Hct-28.9* MCV-96 MCH-31.1 MCHC-32.5 RDW-15.2 RDWSD-52.7* Plt ___
___ 06:50AM BLOOD Neuts-71.2* Lymphs-15.4* Monos-9.9 Eos-2.6 Baso-0.4 Im ___ AbsNeut-5.79 AbsLymp-1.25
___ 06:50AM BLOOD ALT-22 AST-31 LD(LDH)-248 AlkPhos-97 TotBili-0.6
___ 06:50AM BLOOD Calcium-8.9 Phos-4.1 Mg-2.0
___ 11:20AM URINE Color-Yellow Appear-Clear Sp ___
___ 11:20AM URINE Blood-NEG Nitrite-NEG Protein-30* Glucose-NEG Ketone-NEG

Medications on Admission:
The Preadmission Medication list is accurate and complete.
1. Atorvastatin 40 mg PO QPM
2. Metoprolol Succinate XL 100 mg PO DAILY
3. Torsemide 40 mg PO DAILY
4. Warfarin 2.5 mg PO DAILY16
5. Tiotropium Bromide 1 CAP IH DAILY
6. Albuterol Inhaler 2 PUFF IH Q4H:PRN wheezing
7. Multivitamins 1 TAB PO DAILY

Discharge Disposition:
Home With Service

Discharge Condition:
Mental Status: Clear and coherent.
Level of Consciousness: Alert and interactive.
Activity Status: Ambulatory - requires assistance or aid (walker or cane).

Discharge Instructions:
Dear Mr. ___,
It was a pleasure taking care of you at ___. You came to us because you were short of breath and your legs were
swollen. We gave you water pills through the vein and you felt better. Please take your medicines as they are listed
and go to all of your appointments. We wish you the best.
Your ___ Team
"""


def larger(graph: KnowledgeGraph, count: int) -> KnowledgeGraph:
    """The graph with invented diseases added until it has ``count`` names.

    An invented name is the first half of one name and the second half of another.
    """
    names = sorted({name for disease in graph.diseases().values() for name in disease.names})
    halves = [name.split() for name in names if len(name.split()) > 2]
    made: dict[str, None] = {}
    for step in range(1, len(halves)):
        for n, words in enumerate(halves):
            other = halves[(n + 7919 * step) % len(halves)]
            made[" ".join([*words[: len(words) // 2], *other[len(other) // 2 :]])] = None
            if len(names) + len(made) >= count:
                return Larger(graph, {10**7 + n: Disease(10**7 + n, (name,), "", "") for n, name in enumerate(made)})
    raise AssertionError("not enough names")


@dataclass
class Larger:
    """A graph with further diseases, which have no edges."""

    graph: KnowledgeGraph
    more: dict[int, Disease]

    def inputs(self) -> Mapping[Path, str]:
        """The files of the original graph."""
        return self.graph.inputs()

    def diseases(self) -> dict[int, Disease]:
        """The diseases of the original graph and the further ones."""
        return {**self.graph.diseases(), **self.more}

    def triples(self, node_index: int) -> Sequence[Triple]:
        """The triples in the original graph."""
        return self.graph.triples(node_index)

    def degree(self, node_index: int) -> int:
        """The degree in the original graph."""
        return self.graph.degree(node_index)

    def edges(self) -> Edges:
        """The edges of the original graph."""
        return self.graph.edges()


def built(graph: KnowledgeGraph) -> rules.Rules:
    """The extractor in one process, with the dictionary that is measured too."""
    extractor = rules.build(rules.Options(), graph=graph, pool=Local(1))
    assert isinstance(extractor, rules.Rules)
    return extractor


def speed(extractor: rules.Rules, title: str, note: str, megabytes: float) -> None:
    """Print the speed of one process on a corpus and on one eight times as large, and of two processes on the latter."""
    count = int(megabytes * 1e6 / len(note))
    joined, processor = (note * count).lower().encode(), time.process_time()
    extractor.prepared.automaton.find_matches_as_indexes(joined)
    floor = len(joined) / 1e6 / (time.process_time() - processor)
    print(f"  {title}: the automaton alone {floor:5.1f} MB/s of processor time")
    for times, workers in ((1, 1), (8, 1), (8, 2)):
        texts = [note.replace("71", str(50 + n % 50), 1) for n in range(count * times)]
        chosen = rules.Rules(extractor.prepared, Local(workers))
        clock, processor = time.perf_counter(), time.process_time()
        extractions = chosen.extract(texts)
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        size = sum(map(len, texts)) / 1e6
        density = sum(len(extraction.entities) for extraction in extractions) / size / 1e3
        cpu = f"{size / processor:5.1f} MB/s of processor time, " if workers == 1 else " " * 33
        print(
            f"  {title}, {density:3.1f} mentions/kB, {size:5.1f} MB, {workers} process: "
            f"{cpu}{size / clock:5.1f} MB/s on the clock"
        )


def table(*headings: str) -> None:
    """Print the head of a table."""
    print(f"\n| {' | '.join(headings)} |\n|{' --- |' * len(headings)}")


def finding_and_linking(data: Path, graph: KnowledgeGraph, extractor: rules.Rules) -> None:
    """Print the tables of spans, of links and of titles."""
    known, near = gold(data / "primekg-open"), links.widened(data / "primekg-open")
    with tempfile.TemporaryDirectory() as cache:
        linker = linking.build(graph, Linking(), 0, Path(cache))
    ways = {
        "plain": links.plain(graph),
        "rules without candidates": links.by_rules(extractor, linker, candidates=False),
        "rules": links.by_rules(extractor, linker, candidates=True),
    }
    corpora = links.corpora(data)
    print(*(links.described(name, documents, known) for name, documents in corpora.items()), sep="\n")
    rows = [links.corpus_rows(name, documents, ways, known, near) for name, documents in corpora.items()]
    table("spans: precision, recall, F1", "way", "exact", "overlapping")
    print(*(row for spans, _ in rows for row in spans), sep="\n")
    table("links: precision, recall, F1", "way", "right", "right, or a parent or child")
    print(*(row for _, linked in rows for row in linked), sep="\n")
    table("titles", "way", "right, of all", "right, of those with a disease")
    print(*links.title_rows(data, known, ways), sep="\n")


def statuses(extractor: rules.Rules, chosen: argparse.Namespace) -> None:
    """Print the table of statuses. In the test set of NegEx the mentions are told, since most are no diseases of the graph."""
    told = {"all present": status.all_present, "rules, told the mention": status.given}
    ways = told | {"rules": status.finding(extractor)}
    table(*status.HEADINGS)
    print(*status.rows(status.sets(), ways, chosen.peer), sep="\n")
    if chosen.negex:
        cases, left_out = status.negex_cases(chosen.negex)
        print(*status.rows({"NegEx test set": cases}, told, chosen.peer), sep="\n")
        print(f"\n{left_out} of the NegEx test set are left out: the condition is not in the sentence")
    if chosen.failures:
        print(*status.failures(status.own_cases(chosen.failures), ways["rules"]), sep="\n")


def main() -> None:
    """Print accuracy, then speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with primekg-open/ and the corpora")
    parser.add_argument(
        "--peer",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        metavar=("PYTHON", "SCRIPT"),
        help="a program to compare the status with: the Python of its environment, and the script that asks it",
    )
    parser.add_argument("--negex", type=Path, help="the file with the test set of NegEx")
    parser.add_argument("--failures", choices=status.HALVES, help="list the cases of this half that fail")
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--megabytes", type=float, default=5.0, help="size of the smaller corpus")
    chosen = parser.parse_args()
    graph = primekg.build(primekg.Options(), folder=chosen.data / "primekg-open")
    start = time.perf_counter()
    extractor = built(graph)
    print(f"dictionary of {len(extractor.prepared.patterns):,} patterns in {time.perf_counter() - start:.1f} s")
    finding_and_linking(chosen.data, graph, extractor)
    statuses(extractor, chosen)
    if chosen.skip_speed:
        return
    wide_extractor = built(larger(graph, 44_000))
    print(
        f"\nSpeed, dictionaries of {len(extractor.prepared.patterns):,} and {len(wide_extractor.prepared.patterns):,} patterns:"
    )
    for size, chosen_rules in (("open PrimeKG", extractor), ("44,000 names", wide_extractor)):
        for kind, note in (("admission note", NOTE), ("discharge summary", NOTE + RESULTS * 3)):
            speed(chosen_rules, f"{size}, {kind}", note, chosen.megabytes)


if __name__ == "__main__":
    main()
