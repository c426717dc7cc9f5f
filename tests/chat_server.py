"""A chat-completions endpoint on 127.0.0.1 with a model that only copies, and with every fault an endpoint may have."""

import hashlib
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
FENCED = re.compile(r"\[begin (excerpt|evidence) (\w+)\]\n(.*)\n\[end \1 \2\]", re.DOTALL)


@dataclass(frozen=True)
class Fault:
    """``status``: an error with ``headers``. ``seconds``: slow. ``content``: this instead of the model's answer; ``message``:
    other fields of it. ``instead``: this and no completion. ``drop``: the connection is closed before, or with ``partial``
    amid, the answer. ``die``: the server ends."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    content: str | None = None
    message: Mapping[str, object] = field(default_factory=dict)
    instead: bytes | None = None
    finish_reason: str = "stop"
    drop: bool = False
    partial: bool = False
    die: bool = False
    body: str = '{"error": {"message": "Note text: SECRET", "code": "some_code"}}'


def copying_model(*conditions: str) -> Callable[[Body], str]:
    """A model that names ``conditions`` where they stand ("no" before one negates it), and sums up by copying the evidence."""

    def answer(body: Body) -> str:
        kind, _, text = FENCED.search(body["messages"][1]["content"]).groups()  # type: ignore[union-attr]
        if kind == "excerpt":
            names = "|".join(map(re.escape, sorted(conditions, key=len, reverse=True)))
            found = re.finditer(rf"(\bno (?:evidence of )?)?\b({names})\b", text, re.IGNORECASE)
            entities = [{"text": m[2], "status": "negated" if m[1] else "present"} for m in found]
            return json.dumps({"entities": entities})
        lines = [line.split(". ", 1) for line in text.splitlines()]
        statements = [{"text": told, "evidence": [key]} for key, told in lines if key[0] in "SDT"]
        return json.dumps({"statements": statements or [{"text": "Nothing abnormal was noted.", "evidence": ["P1"]}]})

    return answer


@dataclass
class ChatServer:
    """``fault(n, body)`` says what happens to the n-th request. ``paid`` counts the answers that were sent, by what was asked."""

    model: Callable[[Body], str]
    fault: Callable[[int, Body], Fault | None] = lambda n, body: None
    requests: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paid: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)  # with the model's own answer, by what was asked for
    most_at_once: int = 0
    serves: str | None = None  # the model that answers say they are of; None: as asked for
    pages: dict[str, Any] = field(default_factory=dict)  # what GET gives, by path
    path: str = "/v1"  # chat completions are under it

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                page = json.dumps(server.pages.get(self.path)).encode()
                self.send_response(200 if self.path in server.pages else 404)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def do_POST(self) -> None:
                try:
                    server._serve(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                pass

        self._http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """From now on connections are refused."""
        self._http.shutdown()
        self._http.server_close()

    def settled(self) -> None:
        """Waits until no request is being answered."""
        while self._open:
            time.sleep(0.01)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            n = len(self.requests)
            self.requests.append(body)
            self.headers.append(dict(handler.headers))
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
        there = handler.path == f"{self.path}/chat/completions"
        nowhere = Fault(status=404, body='{"detail": "Not Found"}')
        try:
            self._answer(handler, body, (self.fault(n, body) or Fault()) if there else nowhere)
        finally:
            with self._lock:
                self._open -= 1

    def _answer(self, handler: BaseHTTPRequestHandler, body: Body, fault: Fault) -> None:
        time.sleep(fault.seconds)
        if fault.die:
            threading.Thread(target=self.close, daemon=True).start()
        if fault.die or fault.drop:
            handler.close_connection = True
            return
        sent = (fault.body if fault.status != 200 else self._written(self._completion(body, fault), body)).encode()
        sent = sent if fault.instead is None else fault.instead
        handler.send_response(fault.status)
        for name, value in fault.headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(sent)))
        handler.end_headers()
        handler.wfile.write(sent[: len(sent) // 2] if fault.partial else sent)
        handler.wfile.flush()
        handler.close_connection = fault.partial
        if fault.status == 200 and not fault.partial and fault.instead is None:
            with self._lock:
                self.paid[asked(body)] += 1
                own = fault.content is None and not fault.message
                self.answered[question(body)] += own and fault.finish_reason == "stop"

    def _written(self, completion: Body, body: Body) -> str:
        """The completion as JSON or, where a stream is asked for, as events of a few characters each."""
        if not body.get("stream"):
            return json.dumps(completion)
        text = completion["choices"][0]["message"]["content"]
        deltas = [{"choices": [{"delta": {"content": text[n : n + 5]}}]} for n in range(0, len(text), 5)]
        end = {"choices": [{"delta": {}, "finish_reason": completion["choices"][0]["finish_reason"]}]}
        events = [*deltas, end, {"choices": [], "usage": completion["usage"], "model": completion["model"]}]
        return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"

    def _completion(self, body: Body, fault: Fault) -> Body:
        content = self.model(body) if fault.content is None else fault.content
        message = {"role": "assistant", "content": content, "reasoning_content": "thoughts", **fault.message}
        # a nudge is not counted: runs stay comparable
        usage = {"prompt_tokens": len(question(body)) // 4, "completion_tokens": len(content) // 4}
        choice = {"index": 0, "message": message, "finish_reason": fault.finish_reason}
        named = {"model": self.serves or body["model"]}
        return {"id": "x", "object": "chat.completion", **named, "choices": [choice], "usage": usage}


def asked(body: Body) -> str:
    """The request, as a key."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def question(body: Body) -> str:
    """What is asked, without the nudge after an unusable answer."""
    text: str = body["messages"][-1]["content"].split("\n\nAnswer ")[0]
    return text


def chaos(share: float, seed: int = 0) -> Callable[[int, Body], Fault | None]:
    """Faults of every kind for a ``share`` of requests, at most three for one request: then it is answered."""
    seen: Counter[str] = Counter()
    faults = (
        Fault(status=500),
        Fault(status=503),
        Fault(status=429, headers=(("Retry-After", "0"),)),
        Fault(drop=True),
        Fault(partial=True),
        Fault(content="I cannot help with that."),
        Fault(content='{"entities": "none", "statements": 3}'),
        Fault(content='{"enti', finish_reason="length"),
        Fault(seconds=0.1),
    )

    def fault(n: int, body: Body) -> Fault | None:
        key = hashlib.sha256(question(body).encode()).hexdigest()
        seen[key] += 1
        draw = random.Random(f"{seed} {key} {seen[key]}")
        return draw.choice(faults) if seen[key] <= 2 and draw.random() < share else None

    return fault
