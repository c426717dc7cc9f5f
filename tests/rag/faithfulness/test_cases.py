"""The benchmark's statements about invented patients: nearly all false ones are flagged, and hardly a true one."""

from pathlib import Path

from benchmarks import faithfulness as benchmark
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.graphs.primekg import graph as primekg


def test_nine_of_ten_false_statements_and_few_true_ones_are_flagged(tmp_path: Path) -> None:
    patients, statements = benchmark.read(benchmark.CASES)
    write_graph(load_graph(), tmp_path)
    graph = primekg.build(primekg.Options(), folder=tmp_path)
    flagged = [audit.supported != 1.0 for audit in benchmark.audits(graph, patients, statements, tmp_path)]
    for half in benchmark.HALVES:
        verdicts = [
            (row["true"], wrong)
            for row, wrong in zip(statements, flagged, strict=True)
            if benchmark.half(row["text"]) == half
        ]
        of_false = [wrong for true, wrong in verdicts if not true]
        of_true = [wrong for true, wrong in verdicts if true]
        assert min(len(of_false), len(of_true)) > 50
        assert sum(of_false) >= 0.9 * len(of_false) and sum(of_true) <= 0.05 * len(of_true)
