"""Accuracy and speed of the ``rules`` extractor: finding, linking and the status of disease mentions.

    python benchmarks/entities.py --data FOLDER    # about two minutes; FOLDER holds ncbi-disease/ and primekg-open/

Mentions and links are compared with the NCBI disease corpus, the status with our own cases (status_cases.csv). The rules are
compared with plain string matching: every name of the graph, whole words, any case, longest first.
"""

import argparse
import csv
import gzip
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emerge_ehr.compute.local import Local
from emerge_ehr.graphs import Disease, Edges, KnowledgeGraph, Triple
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag.entities import rules
from emerge_ehr.rag.names import name_index, normal

CASES = Path(__file__).with_name("status_cases.csv")
Spans = list[tuple[int, int, str]]  # start, end, name


@dataclass
class Document:
    """One abstract: its text, the annotated spans, and the ids of the concepts in it."""

    text: str = ""
    spans: list[tuple[int, int]] = field(default_factory=list)
    concepts: set[str] = field(default_factory=set)
    composites: int = 0


def ncbi(path: Path) -> list[Document]:
    """The abstracts of a PubTator file. Text: title, space, abstract; ``|`` joins the concepts of a composite mention."""
    documents: defaultdict[str, Document] = defaultdict(Document)
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"(\d+)\|([ta])\|(.*)", line):
            document = documents[match[1]]
            document.text += match[3] if match[2] == "t" else f" {match[3]}"
        elif len(parts := line.split("\t")) == 6:
            document = documents[parts[0]]
            start, end = int(parts[1]), int(parts[2])
            assert document.text[start:end] == parts[3], line
            document.spans.append((start, end))
            ids = re.split(r"[|+]", parts[5].strip())
            document.composites += len(ids) > 1
            document.concepts |= {concept.removeprefix("MESH:").strip() for concept in ids}
    return list(documents.values())


def plain(graph: KnowledgeGraph) -> Callable[[str], Spans]:
    """Whole-word, case-insensitive, leftmost-longest matching of the graph's names and nothing else."""
    from ahocorasick_rs import AhoCorasick

    names = sorted({name.lower() for disease in graph.diseases().values() for name in disease.names})
    automaton = AhoCorasick(names)

    def find(text: str) -> Spans:
        lower = text.lower()
        hits = [
            (start, -end, names[n])
            for n, start, end in automaton.find_matches_as_indexes(lower, overlapping=True)
            if not (lower[start - 1 : start].isalnum() or lower[end : end + 1].isalnum())
        ]
        kept: Spans = []
        for start, minus_end, name in sorted(hits):
            if not kept or start >= kept[-1][1]:
                kept.append((start, -minus_end, name))
        return kept

    return find


def ours(extractor: rules.Rules) -> Callable[[str], Spans]:
    """The rules, as a function like that of ``plain``."""
    return lambda text: [(e.start, e.end, e.name) for e in extractor.extract([text])[0].entities]


def scores(right: int, predicted: int, covered: int, gold: int) -> str:
    """Precision, recall and F1 as text."""
    precision, recall = right / max(predicted, 1), covered / max(gold, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return f"P {precision:.3f}  R {recall:.3f}  F1 {f1:.3f}"


def mentions(documents: Sequence[Document], find: Callable[[str], Spans]) -> Iterator[str]:
    """Scores of spans that are exactly right, then of spans that overlap."""
    predicted = [[(start, end) for start, end, _ in find(document.text)] for document in documents]
    n_predicted, n_gold = sum(map(len, predicted)), sum(len(document.spans) for document in documents)
    pairs = list(zip(predicted, documents, strict=True))
    exact = sum(len(set(spans) & set(document.spans)) for spans, document in pairs)
    yield f"strict      {scores(exact, n_predicted, exact, n_gold)}"

    def near(span: tuple[int, int], others: Sequence[tuple[int, int]]) -> bool:
        return any(span[0] < end and start < span[1] for start, end in others)

    right = sum(near(span, document.spans) for spans, document in pairs for span in spans)
    covered = sum(near(span, spans) for spans, document in pairs for span in document.spans)
    yield f"overlapping {scores(right, n_predicted, covered, n_gold)}"


def concept_nodes(references: Path, features: Path) -> dict[str, set[int]]:
    """The nodes of the graph for each MeSH or OMIM id, by way of MONDO."""
    import polars as pl

    rows = pl.read_csv(features, infer_schema=False).select("mondo_id", "node_index").rows()
    nodes: defaultdict[str, set[int]] = defaultdict(set)
    for mondo, node in rows:
        nodes[mondo].add(int(node))
    concepts: defaultdict[str, set[int]] = defaultdict(set)
    with gzip.open(references, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["ontology"] in ("MESH", "OMIM"):
                prefix = "OMIM:" if row["ontology"] == "OMIM" else ""
                concepts[prefix + row["ontology_id"]] |= nodes.get(row["mondo_id"], set())
    return concepts


def widened(known: dict[str, set[int]], folder: Path) -> dict[str, set[int]]:
    """Adds to each concept's nodes their parents and children: what a disease-disease edge of the graph joins to them."""
    import polars as pl

    edges = pl.scan_csv(folder / "kg.csv", infer_schema=False).filter(pl.col("relation") == "disease_disease")
    near: defaultdict[int, set[int]] = defaultdict(set)
    for x, y in edges.select(pl.col("x_index", "y_index").cast(pl.Int64)).collect().rows():
        near[x].add(y)
        near[y].add(x)
    return {concept: nodes.union(*(near[node] for node in nodes)) for concept, nodes in known.items()}


def links(
    documents: Sequence[Document], find: Callable[[str], Spans], index: dict[str, int], known: dict[str, set[int]]
) -> str:
    """Scores of the nodes found in a document against those of its concepts; concepts without a node are left out."""
    right = n_predicted = covered = n_gold = 0
    for document in documents:
        gold = [known[concept] for concept in sorted(document.concepts) if known.get(concept)]
        nodes = {index[normal(name)] for _, _, name in find(document.text) if normal(name) in index}
        right += sum(any(node in allowed for allowed in gold) for node in nodes)
        covered += sum(bool(allowed & nodes) for allowed in gold)
        n_predicted, n_gold = n_predicted + len(nodes), n_gold + len(gold)
    return scores(right, n_predicted, covered, n_gold)


def statuses(extractor: rules.Rules, half: str, failures: bool) -> None:
    """Print the accuracy of each status over the cases of one half."""
    with CASES.open(encoding="utf-8", newline="") as file:
        cases = [row for row in csv.DictReader(file) if row["half"] == half]
    right: Counter[str] = Counter()
    everything: Counter[str] = Counter()
    linked = missed = 0
    for row in cases:
        start = row["text"].index(row["mention"])
        entities = extractor.extract([row["text"]])[0].entities
        entity = next((e for e in entities if e.start < start + len(row["mention"]) and start < e.end), None)
        status = entity.status if entity else "not found"
        missed += entity is None
        everything[row["status"]] += 1
        right[row["status"]] += status == row["status"]
        linked += (status in ("present", "historical")) == (row["status"] in ("present", "historical"))
        if failures and status != row["status"]:
            print(f"    {row['status']} read as {status}: {row['mention']!r} in {row['text']!r}")
    each = "  ".join(f"{status} {right[status]}/{everything[status]}" for status in sorted(everything))
    total = everything.total()
    print(f"  {half:8s} {right.total() / total:.3f} of {total}; {each}; not found {missed}")
    print(f"           of this patient or not: {linked / total:.3f}")


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
    joined, processor = (note * count).lower(), time.process_time()
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


def main() -> None:
    """Print accuracy, then speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with ncbi-disease/ and primekg-open/")
    parser.add_argument("--failures", choices=["tuning", "held_out"], help="list the cases of this half that fail")
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--megabytes", type=float, default=5.0, help="size of the smaller corpus")
    chosen = parser.parse_args()
    folder = chosen.data / "primekg-open"
    graph = primekg.build(primekg.Options(), folder=folder)
    start = time.perf_counter()
    extractor = built(graph)
    print(f"dictionary of {len(extractor.prepared.patterns):,} patterns in {time.perf_counter() - start:.1f} s")
    documents = ncbi(chosen.data / "ncbi-disease" / "NCBIdevelopset_corpus.txt")
    known = concept_nodes(folder / "mondo_references.csv.gz", folder / "disease_features.csv")
    wide = widened(known, folder)
    ids = Counter(bool(known.get(concept)) for document in documents for concept in document.concepts)
    print(
        f"NCBI disease development set: {len(documents)} abstracts, {sum(len(d.spans) for d in documents)} mentions, of them "
        f"{sum(d.composites for d in documents)} composite; "
        f"{ids.total()} concepts (each once per document), {ids[False]} without a node"
    )
    index = dict(name_index(graph))
    for title, find in (("plain", plain(graph)), ("rules", ours(extractor))):
        for line in mentions(documents, find):
            print(f"  {title} mentions {line}")
        print(f"  {title} linking              {links(documents, find, index, known)}")
        print(f"  {title} linking, parent or child counts too: {links(documents, find, index, wide)}")
    print("Status cases:")
    for half in ("tuning", "held_out"):
        statuses(extractor, half, chosen.failures == half)
    if chosen.skip_speed:
        return
    wide_extractor = built(larger(graph, 44_000))
    print(
        f"Speed, dictionaries of {len(extractor.prepared.patterns):,} and {len(wide_extractor.prepared.patterns):,} patterns:"
    )
    for size, chosen_rules in (("open PrimeKG", extractor), ("44,000 names", wide_extractor)):
        for kind, note in (("admission note", NOTE), ("discharge summary", NOTE + RESULTS * 3)):
            speed(chosen_rules, f"{size}, {kind}", note, chosen.megabytes)


if __name__ == "__main__":
    main()
