"""How many requests per second one process can send to language models and have answered, by number of endpoints.

    python benchmarks/llm_endpoints.py [--seconds 4] [--latencies 0.05 0.5] [--concurrency 8 64] [--endpoints 1 2 4]

Each endpoint is a process on this machine that answers every request after the same time and computes nothing. The ideal rate
is the number of open requests at all endpoints divided by the latency. CPU time is that of the client's process alone, with
prompt, cache and checks; its inverse bounds the rate of one process, however fast the endpoints are.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from emerge_ehr.config import Config, Llm, Paths
from emerge_ehr.fields import Component
from emerge_ehr.llm.client import Question, connect

MESSAGE = {"role": "assistant", "content": '{"entities": []}'}
ANSWER = json.dumps(
    {
        "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1500, "completion_tokens": 10},
    }
).encode()
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
SYSTEM = "Answer as JSON. " * 100
WINDOW = "word " * 1200  # characters of a default window of notes


def serve(latency: float, port: Connection) -> None:
    """An endpoint that sends the same answer to everything, ``latency`` seconds after a request has come."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):  # the client asks who the server is
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    continue
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                await asyncio.sleep(latency)
                writer.write(RESPONSE)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())


@contextmanager
def servers(count: int, latency: float) -> Iterator[tuple[str, ...]]:
    """Start ``count`` endpoints; yields their URLs."""
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe(duplex=False) for _ in range(count)]
    processes = [spawn.Process(target=serve, args=(latency, sender), daemon=True) for _, sender in pipes]
    for process in processes:
        process.start()
    try:
        yield tuple(f"http://127.0.0.1:{receiver.recv()}/v1" for receiver, _ in pipes)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def question(n: int) -> Question[dict[str, object]]:
    """A request of about the size of one window of notes."""
    return Question("test.v1", SYSTEM, f"{n} {WINDOW}", {"type": "object"}, dict)


def measure(urls: Sequence[str], concurrency: int, count: int) -> tuple[float, float]:
    """Requests per second of wall time, and CPU seconds of this process per request."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            dataset="benchmark",
            run_name="benchmark",
            paths=Paths(raw_dir=Path(folder), cache_dir=Path(folder)),
            source=Component("synthetic"),
            entities=Component("openai_compatible"),
            llm=Llm(api_base_url=tuple(urls), concurrency=concurrency),
        )
        chat = connect(config)
        assert chat is not None
        start, cpu = time.perf_counter(), time.process_time()
        replies = chat.ask(question, range(count), "benchmark")
        seconds, used = time.perf_counter() - start, time.process_time() - cpu
        assert not any(reply.failure for reply in replies)
        shares = [member.answered / count for member in chat.balance.members]
        assert max(shares) < 1.5 * min(shares), shares
        return count / seconds, used / count


def main() -> None:
    """Print one line per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement, where the ideal is reached")
    parser.add_argument("--latencies", type=float, nargs="+", default=[0.05, 0.5])
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--endpoints", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, shared by client and servers; load before {os.getloadavg()[0]:.1f}")
    print("latency  concurrency  endpoints  requests/s  of ideal  CPU ms/request")
    for latency in options.latencies:
        for concurrency in options.concurrency:
            for endpoints in options.endpoints:
                ideal = endpoints * concurrency / latency
                count = max(4 * endpoints * concurrency, int(min(ideal, 1000.0) * options.seconds))
                with servers(endpoints, latency) as urls:
                    rate, cpu = measure(urls, concurrency, count)
                print(
                    f"{1000 * latency:4.0f} ms  {concurrency:11}  {endpoints:9}  {rate:10.0f}  {rate / ideal:8.2f}  "
                    f"{1000 * cpu:14.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
