"""How many false statements the audit of summaries flags, and how many true ones.

    python benchmarks/faithfulness.py [--graph FOLDER] [--show]

``faithfulness_cases.jsonl`` holds invented patients (signals and notes), and true and false statements about them in the style
of language models. The hash of a statement's text decides its half: one to develop on, one set aside. Notes are read and linked
as in ``preprocess``. ``--graph`` names a folder with PrimeKG's files instead of the small graph that comes with the program;
``--show`` prints the wrong verdicts of the first half; ``--cases`` names other statements in the same form.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emerge_ehr import components
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.config import Linking
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.fields import Component
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.rag import linking, recorder
from emerge_ehr.rag.faithfulness import Faithfulness, faithfulness
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.patient_links import Chooser
from emerge_ehr.rag.ranking import connections, hierarchy, signal_phenotypes
from emerge_ehr.rag.summaries import OfNothing, Statement, Summary
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.signals.signals import SIGNAL_BY_NAME, SIGNALS

CASES = Path(__file__).with_name("faithfulness_cases.jsonl")
QUESTION, WINDOW = "death in this hospital admission", "first 48 h of the stay"
HALVES = ("development", "set aside")


def half(text: str) -> str:
    """The half that a statement belongs to."""
    return HALVES[hashlib.sha256(text.encode()).digest()[0] % 2]


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The patients by name, and the statements about them."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {line["patient"]: line for line in lines if "notes" in line}, [line for line in lines if "text" in line]


def cases(graph: KnowledgeGraph, patients: Mapping[str, Any], cache: Path) -> dict[str, recorder.Case]:
    """The patients as ``records`` has them after their notes were read and linked."""
    extractor = components.build("entities", Component("rules"), graph=graph)
    linker = linking.build(graph, Linking(), 1, cache)
    made = {}
    for n, (name, patient) in enumerate(patients.items()):
        signals = [_signal(**signal) for signal in patient["signals"]]
        (extraction,) = extractor.extract([patient["notes"]])
        facts = recorder.PatientFacts(n, name, patient["age"], patient["sex"], patient["notes"], (), signals)
        linked = linker.link({entity.name for entity in extraction.entities if entity.linked})
        names = {normal(entity.name) for entity in extraction.entities} & linked.keys()
        values = tuple(signal.value for signal in signals)
        made[name] = recorder.Case(facts, extraction, {key: linked[key] for key in sorted(names)}, values)
    return made


def _signal(code: str, direction: str, value: float, hour: int, z: float, hours_beyond: int) -> AbnormalSignal:
    signal = SIGNAL_BY_NAME[code]
    return AbnormalSignal(code, signal.label, direction, value, signal.unit, hour, z, hours_beyond)


def audits(
    graph: KnowledgeGraph, patients: Mapping[str, Any], statements: Sequence[Mapping[str, Any]], cache: Path
) -> list[Faithfulness]:
    """The audit of each statement as a summary of its own."""
    made = cases(graph, patients, cache)
    retriever = components.build("retrieval", Component("sample"), graph=graph, seed=1)
    extractor = components.build("entities", Component("rules"), graph=graph, pool=LOCAL)
    shown = signal_phenotypes.read(signal_phenotypes.BUILT_IN)
    auditor = faithfulness.build(graph, extractor, SIGNALS, shown, QUESTION, WINDOW)
    own = [made[statement["patient"]] for statement in statements]
    chooser = Chooser(hierarchy.build(graph), Linking().max_nodes)
    connected = connections.build(graph, shown)
    evidence = recorder.Recorder(chooser, connected, retriever, None, auditor).evidence(own)
    summaries = [Summary((Statement(row["text"], OfNothing("no signal")),), "test") for row in statements]
    entities = [case.extraction.entities for case in own]
    start = time.perf_counter()
    audited = auditor.audit(summaries, evidence, entities, [(case.patient.notes, case.charted) for case in own])
    seconds = time.perf_counter() - start
    print(f"{len(statements)} statements audited in {1000 * seconds / len(statements):.2f} ms each")
    return audited


def main() -> None:
    """Print the shares that are flagged, for each half."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", type=Path)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--cases", type=Path, default=CASES)
    options = parser.parse_args()
    patients, statements = read(options.cases)
    with tempfile.TemporaryDirectory() as folder:
        if options.graph is None:
            write_graph(load_graph(), Path(folder))
        graph = primekg.build(primekg.Options(), folder=options.graph or Path(folder))
        audited = audits(graph, patients, statements, Path(folder))
    for name in HALVES:
        rows = [(row, audit) for row, audit in zip(statements, audited, strict=True) if half(row["text"]) == name]
        for truth, word in ((False, "false"), (True, "true")):
            flagged = [audit.supported != 1.0 for row, audit in rows if row["true"] is truth]
            print(
                f"{name}: {sum(flagged)} of {len(flagged)} {word} statements flagged ({sum(flagged) / len(flagged):.1%})"
            )
        if options.show and name == HALVES[0]:
            for row, audit in rows:
                if row["true"] is not (audit.supported == 1.0):
                    reasons = "; ".join(f"{claim.claim}: {claim.why}" for claim in audit.unsupported)
                    print(f"  {'flagged' if row['true'] else 'missed'} [{row['patient']}] {row['text']} | {reasons}")


if __name__ == "__main__":
    main()
