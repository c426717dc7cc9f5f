"""Time that the client for language models adds to plain requests, and time of the audit of summaries.

    python -m benchmarks.llm [--requests 2000] [--patients 2000] [--graph FOLDER]
    python -m benchmarks.llm --url http://127.0.0.1:8000/v1 --requests 40 [--model NAME]

Requests go to a server in this process that answers after 20 ms (tests/chat_server.py, hence ``-m``). The floor (the lower
bound) is a loop of httpx posts with the same concurrency, without retries, cache or checks. The audit reads template summaries
of invented patients. ``--graph`` names a folder with PrimeKG's files. ``--url`` names a real server instead (make llama), and
only its rate is measured: one request after the other, and as many at once as the client finds that it bears.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from emerge_ehr import components
from emerge_ehr.config import Config, Llm, Paths
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.fields import Component
from emerge_ehr.graphs.primekg import graph as primekg
from emerge_ehr.llm.client import Question, connect
from emerge_ehr.rag.faithfulness import faithfulness
from emerge_ehr.rag.patient_links import Link
from emerge_ehr.rag.ranking import signal_phenotypes
from emerge_ehr.rag.retrieval import Query
from emerge_ehr.rag.summaries import Evidence
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.signals.signals import SIGNALS
from tests.chat_server import ChatServer, Fault

WIDTH = 32
QUESTION, WINDOW = "death in this hospital admission", "first 48 h of the stay"


def question(n: int) -> Question[dict[str, int]]:
    """A request of about the size of one window of notes."""
    return Question("test.v1", "Answer as JSON. " * 100, f"{n} " + "word " * 1200, {"type": "object"}, dict)


def excerpt(n: int) -> Question[dict[str, int]]:
    """A short request that a small model answers in seconds; no two begin alike, so that no server recalls one."""
    return Question(
        "test.v1", "Answer as JSON.", f"{n}: " + "The patient has no fever. " * 10, {"type": "object"}, dict
    )


def bare(url: str, count: int) -> float:
    """Seconds that a plain loop takes for ``count`` requests."""

    async def post(client: httpx.AsyncClient, queue: list[int]) -> None:
        while queue:
            request = question(queue.pop())
            messages = [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}]
            (await client.post(f"{url}/chat/completions", json={"model": "benchmark", "messages": messages})).json()

    async def loop() -> None:
        queue = list(range(count))
        async with httpx.AsyncClient() as client:
            await asyncio.gather(*(post(client, queue) for _ in range(WIDTH)))

    start = time.perf_counter()
    asyncio.run(loop())
    return time.perf_counter() - start


def requests(count: int, folder: Path) -> None:
    """Print requests per second of the floor, of the client, and from the cache."""
    server = ChatServer(lambda body: '{"n": 1}', lambda n, body: Fault(seconds=0.02))
    config = Config(
        dataset="benchmark",
        run_name="benchmark",
        paths=Paths(raw_dir=folder, cache_dir=folder),
        source=Component("synthetic"),
        entities=Component("openai_compatible"),
        llm=Llm(api_base_url=server.url, concurrency=WIDTH),
    )
    floor = bare(server.url, count)
    seconds = []
    for _ in range(2):
        chat = connect(config)
        assert chat is not None
        start = time.perf_counter()
        replies = chat.ask(question, range(count), "benchmark")
        seconds.append(time.perf_counter() - start)
        assert not any(reply.failure for reply in replies)
    print(
        f"{count} requests, {WIDTH} at once: {count / floor:.0f}/s plain, {count / seconds[0]:.0f}/s by the client",
        end="",
    )
    print(f" ({seconds[0] / floor:.2f} times the floor's time); from the cache {count / seconds[1]:.0f}/s")


def real(url: str, model: str, count: int, folder: Path) -> None:
    """Print what a server that is running gives one request at a time, and what it gives the client."""
    for width in (1, 64):
        config = Config(
            dataset="benchmark",
            run_name="benchmark",
            paths=Paths(raw_dir=folder, cache_dir=folder / str(width)),
            source=Component("synthetic"),
            entities=Component("openai_compatible"),
            llm=Llm(
                api_base_url=url,
                model=model,
                concurrency=width,
                max_output_tokens=32,
                timeout_seconds=600.0,
                fallback_to_rules=True,  # the rate counts, also of a model whose answers cannot be used
            ),
        )
        chat = connect(config)
        assert chat is not None
        start = time.perf_counter()
        chat.ask(excerpt, range(count), "benchmark")
        seconds, paid = time.perf_counter() - start, chat.account.paid
        (member,) = chat.balance.members
        print(
            f"at most {width} at once: {paid.answers} answers in {seconds:.1f} s, {paid.answers / seconds:.2f}/s, "
            f"{(paid.prompt_tokens + paid.completion_tokens) / seconds:.0f} tokens/s; {member.flight.allowed} at once at last; "
            f"{member.endpoint.manner}"
        )


def audits(count: int, folder: Path) -> None:
    """Print the time of auditing template summaries of patients with up to ten diseases and five signals."""
    graph = primekg.build(primekg.Options(), folder=folder)
    rng = np.random.default_rng(1)
    nodes = [node for node in graph.diseases() if graph.degree(node)]
    queries = [Query(tuple(rng.choice(nodes, min(10, len(nodes)), replace=False).tolist()), []) for _ in range(count)]
    retriever = components.build("retrieval", Component("sample"), graph=graph, seed=1)
    signals = [AbnormalSignal(s.name, s.label, "high", 0.0, s.unit, n, 2.5, 3) for n, s in enumerate(SIGNALS[3:8])]
    evidence = []
    for diseases in retriever.retrieve(queries):
        links = [Link(disease.node_index, disease.name, "note", 1.0, 1) for disease in diseases]
        documents = {disease.node_index: disease for disease in diseases}
        evidence.append(Evidence(60.0, "F", signals, links, documents))
    written = components.build("summary", Component("template"), question=QUESTION, window=WINDOW).summarise(evidence)
    start = time.perf_counter()
    dictionary = components.build("entities", Component("rules"), graph=graph)
    auditor = faithfulness.build(
        graph, dictionary, SIGNALS, signal_phenotypes.read(signal_phenotypes.BUILT_IN), QUESTION, WINDOW
    )
    built = time.perf_counter() - start
    start = time.perf_counter()
    dictionary.extract([summary.text for summary in written])
    floor = time.perf_counter() - start
    start = time.perf_counter()
    charted = [("note", [signal.value for signal in signals])] * count
    result = auditor.audit(written, evidence, [()] * count, charted)
    seconds = time.perf_counter() - start
    totals = faithfulness.totals(result)
    sizes = f"{count} summaries, {totals['statements']} statements, {len(graph.diseases())} diseases"
    print(f"audit of {sizes}: built in {built:.1f} s, {1000 * seconds / count:.2f} ms per patient,")
    print(f"  {seconds / floor:.1f} times one pass of the dictionary; {totals}")


def main() -> None:
    """Measure requests, then audits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--graph", type=Path)
    parser.add_argument("--url", help="of a real server")
    parser.add_argument("--model", default="default", help="of the real server")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.url:
            real(options.url, options.model, options.requests, Path(folder))
            return
        requests(options.requests, Path(folder))
        if options.graph is None:
            write_graph(load_graph(), Path(folder))
        audits(options.patients, options.graph or Path(folder))


if __name__ == "__main__":
    main()
