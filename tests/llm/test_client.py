"""The client against a real server on 127.0.0.1 that is slow, busy, broken or gone."""

import email.utils
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emerge_ehr import privacy
from emerge_ehr.config import Config, Paths
from emerge_ehr.decides import SUMMARIES, statements
from emerge_ehr.fields import Component, UserError
from emerge_ehr.llm.client import ATTEMPTS, Chat, Question
from tests.chat_server import Body, ChatServer, Fault
from tests.other_values import changed
from tests.places import ROOT

Serve = Callable[..., ChatServer]
Client = Callable[..., Chat]


def question(n: int) -> Question[int]:
    def number_in(value: dict[str, Any]) -> int:
        if value.get("n") != n:
            raise ValueError(f"n is not {n}")
        return n

    return Question("test.v1", "Answer as JSON.", f"n = {n}", {"type": "object"}, number_in)


def model(body: Body) -> str:
    return json.dumps({"n": int(body["messages"][1]["content"].split("\n")[0].removeprefix("n = "))})


def ask(chat: Chat, count: int) -> list[int | None]:
    return [reply.value for reply in chat.ask(question, range(count), "numbers")]


def test_answers_come_in_order_and_are_asked_for_once_over_clients(serve: Serve, client: Client) -> None:
    server = serve(model)
    assert ask(client(server), 30) == list(range(30))
    assert ask(client(server), 40) == list(range(40))
    assert len(server.requests) == 40 and set(server.paid.values()) == {1}


def test_the_same_question_twice_in_a_batch_is_paid_once(serve: Serve, client: Client) -> None:
    server = serve(model)
    replies = client(server).ask(question, [1, 2, 1], "numbers")
    assert [reply.value for reply in replies] == [1, 2, 1] and len(server.requests) == 2


def test_questions_are_in_memory_only_while_they_are_asked(serve: Serve, client: Client) -> None:
    import weakref

    alive = most = 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def make(n: int) -> Question[int]:
        nonlocal alive, most
        weakref.finalize(made := question(n), gone)
        alive += 1
        most = max(most, alive)
        return made

    server = serve(model)
    chat = client(server, concurrency=3)
    replies = chat.ask(make, [*range(40), *range(40)], "numbers")
    assert [reply.value for reply in replies] == [*range(40), *range(40)] and len(server.requests) == 40
    assert chat.metadata()["usage"]["test.v1"]["answers"] == 40 and most <= 2 * 3
    dry = client(server, dry=True)
    dry.ask(question, range(50), "numbers")
    assert (dry.estimates["test.v1"].stored, dry.estimates["test.v1"].requests) == (40, 10)


def test_no_more_requests_at_once_than_allowed(serve: Serve, client: Client) -> None:
    server = serve(model, lambda n, body: Fault(seconds=0.3))  # long enough to overlap on a busy machine
    ask(client(server, concurrency=3), 12)
    assert server.most_at_once == 3


@pytest.mark.parametrize(
    "rate",
    [{"requests_per_minute": 600}, {"tokens_per_minute": 60_000, "max_output_tokens": 96}],
    ids=["requests", "tokens"],
)
def test_requests_keep_to_the_rate(serve: Serve, client: Client, rate: dict[str, int]) -> None:
    server = serve(model)
    start = time.monotonic()
    ask(client(server, **rate), 8)  # one in 0.1 s, of about 100 tokens with its answer
    assert time.monotonic() - start >= 0.7


@pytest.mark.parametrize("form", ["seconds", "date", "unsaid"])
def test_a_busy_endpoint_is_waited_for_as_long_as_it_says(serve: Serve, client: Client, form: str) -> None:
    times: list[float] = []

    def busy(n: int, body: Body) -> Fault | None:
        times.append(time.time())
        later = email.utils.formatdate(times[0] + 2, usegmt=True) if form == "date" else "1"
        headers = () if form == "unsaid" else (("Retry-After", later),)
        return Fault(status=429, headers=headers) if n == 0 else None

    server = serve(model, busy)
    assert ask(client(server, concurrency=1, retries=0), 2) == [0, 1]
    assert times[1] - times[0] >= 0.95  # a date is cut to whole seconds


def test_a_long_pause_ends_the_run_in_one_line(serve: Serve, client: Client) -> None:
    server = serve(model, lambda n, body: Fault(status=429, headers=(("Retry-After", "86400"),)))
    with pytest.raises(UserError, match="86400 s more; run again later"):
        ask(client(server), 3)


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(status=503), Fault(drop=True), Fault(partial=True), Fault(seconds=3), Fault(content="")],
    ids=["500", "503", "dropped", "half a body", "too slow", "blank"],
)
def test_a_fault_on_the_way_is_repaired_by_another_try(serve: Serve, client: Client, fault: Fault) -> None:
    server = serve(model, lambda n, body: fault if n == 0 else None)
    assert ask(client(server, timeout_seconds=1.0), 2) == [0, 1]


@pytest.mark.parametrize(
    "content",
    [
        'Here you are:\n```json\n{"n": 0}\n```',
        "{'n': 0,}",
        '<think>Perhaps {"n": 5}?</think>\n{"n": 0}',
        '{"n": 0, "more": [1]}',
        '\n\n  {"n": 0',
    ],
)
def test_nearly_json_is_read_without_asking_again(serve: Serve, client: Client, content: str) -> None:
    server = serve(model, lambda n, body: Fault(content=content))
    assert ask(client(server), 1) == [0] and len(server.requests) == 1


def test_an_unusable_answer_is_kept_and_asked_for_again_with_a_nudge_a_bounded_number_of_times(
    serve: Serve, client: Client, tmp_path: Path
) -> None:
    server = serve(model, lambda n, body: Fault(content='{"n": 99}'))
    (reply,) = client(server).ask(question, [1], "numbers")
    assert reply.value is None and reply.failure == f"no usable answer in {ATTEMPTS} attempts; the last: n is not 1"
    assert len(server.requests) == ATTEMPTS
    assert "Answer 2 could not be used: n is not 1" in server.requests[2]["messages"][1]["content"]
    stored = sqlite3.connect(tmp_path / "cache/llm.sqlite")
    assert stored.execute("SELECT COUNT(*) FROM answers").fetchone() == (ATTEMPTS,)
    stored.close()
    server.fault = lambda n, body: None
    assert ask(client(server), 2) == [0, 1]  # the next run begins a new round
    assert max(server.paid.values()) == 1  # and no request is a repetition


def test_failures_are_recorded_and_only_they_are_retried(serve: Serve, client: Client) -> None:
    bad = {"n = 3", "n = 4"}
    server = serve(model, lambda n, body: Fault(status=500) if body["messages"][1]["content"] in bad else None)
    replies = client(server, retries=1).ask(question, range(6), "numbers")
    assert [reply.value for reply in replies] == [0, 1, 2, None, None, 5]
    assert [reply.failure for reply in replies[3:5]] == ["HTTP 500"] * 2
    server.fault = lambda n, body: None
    before = len(server.requests)
    assert ask(client(server), 6) == list(range(6)) and len(server.requests) == before + 2


def test_a_refused_request_is_a_failure_that_repeats_nothing_of_the_note(serve: Serve, client: Client) -> None:
    server = serve(model, lambda n, body: Fault(status=400) if n == 0 else None)
    replies = client(server, concurrency=1).ask(question, range(3), "numbers")
    assert [reply.failure for reply in replies] == ["HTTP 400 (some_code)", None, None]


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "llm.api_key_env"), (402, "balance"), (403, "rights"), (404, "llm.model"), (307, "not followed")],
)
def test_what_would_fail_for_everyone_ends_the_run_at_once(
    serve: Serve, client: Client, status: int, advice: str
) -> None:
    elsewhere = serve(model)
    server = serve(model, lambda n, body: Fault(status=status, headers=(("Location", elsewhere.url),)))
    with pytest.raises(UserError, match=f"HTTP {status}.*{advice}"):
        ask(client(server, concurrency=2), 50)
    assert len(server.requests) <= 2 and not elsewhere.requests


def test_a_dead_endpoint_ends_the_run_and_the_next_goes_on(serve: Serve, client: Client) -> None:
    server = serve(model, lambda n, body: Fault(die=True) if n == 10 else None)
    with pytest.raises(UserError, match="no connection, after 1 retries; the answers so far are kept"):
        ask(client(server, concurrency=1, retries=1), 1000)
    again = serve(model)
    assert ask(client(again), 20) == list(range(20))
    assert len(again.requests) == 10  # the other ten were answered by the first


def test_an_endpoint_that_only_fails_is_given_up(serve: Serve, client: Client) -> None:
    server = serve(model, lambda n, body: Fault(status=500))
    with pytest.raises(UserError, match="HTTP 500, after 0 retries"):
        ask(client(server, retries=0), 1000)
    assert len(server.requests) < 40


def test_with_a_fallback_a_dead_endpoint_fails_the_rest_without_waiting(serve: Serve, client: Client) -> None:
    server = serve(model)
    server.close()
    start = time.monotonic()
    replies = client(server, retries=1, fallback_to_rules=True).ask(question, range(5000), "numbers")
    assert all(reply.failure for reply in replies) and time.monotonic() - start < 20


def test_the_bound_on_the_cost_ends_the_run_and_keeps_what_was_paid(serve: Serve, client: Client) -> None:
    server = serve(lambda body: model(body) + " " * 4000)  # 1,000 tokens out
    prices: dict[str, Any] = {"price_output": 1000.0, "price_input": 1.0}
    with pytest.raises(UserError, match=r"llm.max_cost = 5 is reached"):
        ask(client(server, concurrency=2, max_cost=5.0, **prices), 100)
    assert 5 <= len(server.requests) <= 6
    assert ask(client(server), 5) == list(range(5))
    assert len(server.requests) <= 6 and max(server.paid.values()) == 1


def test_the_account_for_metadata_is_the_same_however_often_it_is_run(serve: Serve, client: Client) -> None:
    server = serve(model)
    first = client(server, price_input=2.0, price_output=4.0)
    ask(first, 5)
    again = client(server, price_input=2.0, price_output=4.0)
    ask(again, 5)
    assert first.metadata() == again.metadata()
    usage = first.metadata()["usage"]["test.v1"]
    assert usage["answers"] == 5 and usage["cost"] == pytest.approx(
        (usage["prompt_tokens"] * 2 + usage["completion_tokens"] * 4) / 1e6
    )
    assert first.account.paid.answers == 5 and again.account.paid.answers == 0


@pytest.mark.parametrize(("mode", "form"), [("schema", "json_schema"), ("object", "json_object"), ("none", None)])
def test_the_form_of_the_answer_is_asked_for_as_configured(
    serve: Serve, client: Client, mode: str, form: str | None
) -> None:
    server = serve(model)
    extra = {"thinking": {"type": "disabled"}}
    ask(client(server, json_mode=mode, extra_body=extra, model="m", max_output_tokens=77), 1)
    body = server.requests[0]
    assert (body.get("response_format") or {}).get("type") == form
    assert body["thinking"] == extra["thinking"] and body["model"] == "m"
    assert body["temperature"] == 0 and body["max_tokens"] == 77
    assert body.keys() - extra.keys() <= privacy.OWN_FIELDS  # none of which may stand in extra_body


def test_another_model_or_parameter_is_another_question_but_another_endpoint_is_not(
    serve: Serve, client: Client
) -> None:
    server, mirror = serve(model), serve(model)
    ask(client(server), 1)
    for settings in ({"model": "other"}, {"temperature": 0.5}, {"extra_body": {"top_p": 0.5}}):
        ask(client(server, **settings), 1)
    assert len(server.requests) == 4
    assert ask(client(mirror), 1) == [0] and not mirror.requests


def test_the_key_is_sent_and_written_nowhere(
    serve: Serve,
    client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-very-secret")
    caplog.set_level(logging.DEBUG)
    server = serve(model, lambda n, body: Fault(status=401) if n > 1 else None)
    chat = client(server, concurrency=1)
    with pytest.raises(UserError) as error:
        ask(chat, 5)
    assert server.headers[0]["Authorization"] == "Bearer sk-very-secret"
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    shown = f"{error.value} {chat} {chat.metadata()} {caplog.text}"
    assert b"sk-very-secret" not in written and "sk-very-secret" not in shown


def test_a_key_with_a_line_break_is_refused_without_repeating_it(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-one\nsk-two")
    with pytest.raises(UserError, match="DEEPSEEK_API_KEY holds characters") as error:
        client(serve(model))
    assert "sk-" not in str(error.value)


def test_proxies_of_the_environment_do_not_see_a_local_endpoint(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = serve(model), serve(model)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    assert ask(client(server), 1) == [0] and not proxy.requests


def test_a_dry_run_counts_and_sends_nothing(serve: Serve, client: Client, tmp_path: Path) -> None:
    server = serve(model)
    dry = client(server, dry=True, price_input=1.0, price_output=1.0)
    replies = dry.ask(question, range(10), "numbers")
    assert not server.requests and all(reply.failure for reply in replies)
    assert (
        "0 answers are stored, 10 requests would be sent" in dry.estimate()[0] and "rule of thumb" in dry.estimate()[0]
    )
    assert not (tmp_path / "cache").exists()
    ask(client(server), 4)
    dry = client(server, dry=True)
    ask(dry, 10)
    estimate = dry.estimates["test.v1"]
    assert (estimate.stored, estimate.requests) == (4, 6) and "by the answers stored so far" in dry.estimate()[0]
    assert len(server.requests) == 4


def test_the_cache_is_its_owners_alone_and_a_damaged_one_is_named(serve: Serve, client: Client, tmp_path: Path) -> None:
    server = serve(model)
    ask(client(server), 1)
    path = tmp_path / "cache/llm.sqlite"
    assert path.stat().st_mode & 0o077 == 0
    for extra in path.parent.glob("llm.sqlite-*"):
        extra.unlink()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match="not a usable cache"):
        client(server)


def test_two_processes_share_a_cache(serve: Serve, client: Client, tmp_path: Path) -> None:
    import subprocess
    import sys

    server = serve(model, lambda n, body: Fault(seconds=0.005))
    code = (
        "import sys; from pathlib import Path;"
        "from emerge_ehr.llm.cache import Cache, ChatAnswer;"
        f"cache = Cache(Path({str(tmp_path / 'cache/llm.sqlite')!r}));"
        "[cache.store(f'{sys.argv[1]}-{n}', 0, 'p', 'm', 1, ChatAnswer('x', 'stop', 1, 1)) for n in range(300)]"
    )
    root = ROOT
    running = [subprocess.Popen([sys.executable, "-c", code, name], cwd=root, env=os.environ) for name in "ab"]
    assert ask(client(server), 100) == list(range(100))
    assert [process.wait(60) for process in running] == [0, 0]
    stored = sqlite3.connect(tmp_path / "cache/llm.sqlite")
    assert stored.execute("SELECT COUNT(*) FROM answers").fetchone() == (700,)
    stored.close()


@pytest.mark.parametrize("key", [key for key in statements(Config) if key.startswith("llm.")])
def test_a_setting_that_changes_what_is_asked_states_that_it_decides_the_summaries(
    serve: Serve, client: Client, key: str
) -> None:
    server = serve(model)
    ask(client(server), 1)
    again = client(server)
    again.settings = changed(Config("d", "r", Paths(Path()), Component("tables"), llm=again.settings), key).llm
    ask(again, 1)
    assert len(server.requests) == 1 or statements(Config)[key] == SUMMARIES
