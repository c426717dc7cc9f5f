"""Several real servers on 127.0.0.1 that serve the same model: who is asked, and what becomes of one that fails."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from emerge_ehr.fields import UserError
from emerge_ehr.llm import balance
from emerge_ehr.llm.client import Chat, Question
from tests.chat_server import Body, ChatServer, Fault

Serve = Callable[..., ChatServer]
Client = Callable[..., Chat]


def question(n: int) -> Question[int]:
    return Question("test.v1", "Answer as JSON.", f"n = {n}", {"type": "object"}, lambda value: int(value["n"]))


def model(body: Body) -> str:
    return json.dumps({"n": int(body["messages"][1]["content"].split("\n")[0].removeprefix("n = "))})


def slow(seconds: float) -> Callable[[int, Body], Fault]:
    return lambda n, body: Fault(seconds=seconds)


def always(**fault: Any) -> Callable[[int, Body], Fault]:
    return lambda n, body: Fault(**fault)


def ask(chat: Chat, count: int) -> list[int | None]:
    return [reply.value for reply in chat.ask(question, range(count), "numbers")]


def test_equal_servers_get_equal_shares(serve: Serve, client: Client) -> None:
    servers = [serve(model, slow(0.02)) for _ in range(3)]
    assert ask(client(servers, concurrency=4), 240) == list(range(240))
    assert sum(len(server.requests) for server in servers) == 240
    assert all(50 <= len(server.requests) <= 110 for server in servers)
    assert all(server.most_at_once <= 4 for server in servers), "concurrency is of each"


def test_few_requests_are_spread_in_the_order_of_the_list(serve: Serve, client: Client) -> None:
    servers = [serve(model, slow(0.2)) for _ in range(3)]
    ask(client(servers), 5)
    assert [len(server.requests) for server in servers] == [2, 2, 1]


def test_of_servers_with_equally_much_to_do_the_one_that_was_asked_less_is_asked(serve: Serve, client: Client) -> None:
    servers = [serve(model) for _ in range(3)]
    chat = client(servers)
    for n in range(9):  # one after the other
        ask(chat, n + 1)
    assert [len(server.requests) for server in servers] == [3, 3, 3]


def test_a_slow_server_gets_fewer(serve: Serve, client: Client) -> None:
    quick = serve(model)

    def ten_times_as_slow(n: int, body: Body) -> None:
        while len(quick.requests) < 10 * (n + 1) and len(quick.requests) + len(late.requests) < 100:
            time.sleep(0.005)

    late = serve(model, ten_times_as_slow)
    assert ask(client([late, quick], concurrency=2), 100) == list(range(100))
    assert len(late.requests) < len(quick.requests) / 3


def test_the_log_tells_the_endpoints_and_how_much_each_answered(
    serve: Serve, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    servers = [serve(model, slow(0.1)), serve(model, slow(0.1))]
    names = [server.url.removeprefix("http://").removesuffix("/v1") for server in servers]
    ask(client(servers, concurrency=1), 2)
    assert f"deepseek-v4-flash at {names[0]}, {names[1]}" in caplog.text
    assert f"answers of this run by endpoint: {names[0]} 1, {names[1]} 1" in caplog.text


def test_endpoints_that_answer_as_different_models_are_told_once(
    serve: Serve, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    servers = [serve(model, slow(0.01)) for _ in range(3)]
    chat = client(servers)
    ask(chat, 30)
    assert "different models" not in caplog.text
    servers[1].serves = "another"
    ask(chat, 60)
    ask(chat, 90)
    warnings = [record.message for record in caplog.records if "different models" in record.message]
    assert (
        len(warnings) == 1
        and "as 'deepseek-v4-flash'" in warnings[0]
        and f"{servers[1].url.split('/')[2]} as 'another'" in warnings[0]
    )


def test_one_that_dies_amid_the_run_is_set_aside_with_one_warning_and_the_others_answer(
    serve: Serve, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    alive = [serve(model, slow(0.01)), serve(model, slow(0.01))]
    dying = serve(model, lambda n, body: Fault(die=True) if n == 20 else Fault(seconds=0.01))
    assert ask(client([alive[0], dying, alive[1]], concurrency=3, retries=0), 300) == list(range(300))
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and dying.url.split("/")[2] in warnings[0] and "no connection" in warnings[0]
    assert len(dying.requests) < 30


def test_one_that_was_set_aside_is_tried_with_a_single_request_and_used_when_it_is_back(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(balance, "FIRST_REST", 0.1)
    steady = serve(model, slow(0.02))
    away = serve(model, lambda n, body: Fault(status=401) if n < 2 else Fault(seconds=0.02))
    chat = client([away, steady], concurrency=4, retries=0)
    assert ask(chat, 200) == list(range(200))
    assert chat.balance.members[0].answered > 20 and chat.balance.in_service
    assert caplog.text.count("set aside") == 1 and caplog.text.count("answers again") == 1


def test_rests_become_longer_so_that_a_dead_endpoint_is_seldom_tried(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance, "FIRST_REST", 0.05)
    steady, dead = serve(model, slow(0.02)), serve(model, always(status=404))
    assert ask(client([dead, steady], concurrency=1, retries=0), 60) == list(range(60))
    assert 2 <= len(dead.requests) <= 8  # 1.2 s hold the rests 0.05, 0.1, 0.2, 0.4 s


@pytest.mark.parametrize(
    "fault",
    [{"status": 401}, {"status": 404}, {"status": 307}, {"status": 500}, {"status": 400}, {"drop": True}],
    ids=["401", "404", "redirect", "500", "400", "dropped"],
)
def test_what_one_endpoint_refuses_or_breaks_another_answers(serve: Serve, client: Client, fault: Any) -> None:
    bad, good = serve(model, always(**fault)), serve(model, slow(0.005))
    replies = client([bad, good], retries=0, concurrency=4).ask(question, range(150), "numbers")
    assert [(reply.value, reply.failure) for reply in replies] == [(n, None) for n in range(150)]
    assert len(bad.requests) < balance.IN_A_ROW + 8


def test_a_request_that_every_endpoint_refuses_is_its_own_failure_only(serve: Serve, client: Client) -> None:
    def no(n: int, body: Body) -> Fault | None:
        return Fault(status=400) if body["messages"][1]["content"] == "n = 3" else None

    servers = [serve(model, no), serve(model, no)]
    replies = client(servers, concurrency=1).ask(question, range(30), "numbers")
    assert [n for n, reply in enumerate(replies) if reply.failure] == [3]
    assert replies[3].failure == "HTTP 400 (some_code)"


def test_when_all_are_dead_the_run_ends_in_one_line_that_names_them_and_answers_are_kept(
    serve: Serve, client: Client
) -> None:
    servers = [serve(model, lambda n, body: Fault(die=True) if n == 15 else None) for _ in range(2)]
    with pytest.raises(UserError, match="the answers so far are kept") as error:
        ask(client(servers, concurrency=1, retries=1), 1000)
    assert all(f"{server.url.split('/')[2]}: no connection" in str(error.value) for server in servers)
    assert "\n" not in str(error.value)
    again = serve(model)
    answered = sum(server.paid.total() for server in servers)
    assert ask(client(again), 100) == list(range(100)) and len(again.requests) == 100 - answered


def test_a_key_that_none_accepts_ends_the_run_at_once(serve: Serve, client: Client) -> None:
    servers = [serve(model, always(status=401)) for _ in range(2)]
    with pytest.raises(UserError, match=r"HTTP 401.*; .*HTTP 401"):
        ask(client(servers, concurrency=1), 50)
    assert sum(len(server.requests) for server in servers) <= 4


def test_with_a_fallback_dead_endpoints_fail_the_rest_without_waiting(serve: Serve, client: Client) -> None:
    servers = [serve(model), serve(model)]
    for server in servers:
        server.close()
    start = time.monotonic()
    replies = client(servers, retries=1, fallback_to_rules=True).ask(question, range(2000), "numbers")
    assert all(reply.failure for reply in replies) and time.monotonic() - start < 20


def test_a_busy_endpoint_alone_pauses(serve: Serve, client: Client) -> None:
    later = (("Retry-After", "86000"),)
    times: list[float] = []

    def busy(n: int, body: Body) -> Fault | None:
        times.append(time.monotonic())
        return Fault(status=429, headers=(("Retry-After", "1"),)) if n == 0 else None

    paused, free = serve(model, busy), serve(model, slow(0.02))
    assert ask(client([paused, free], concurrency=1, retries=0), 100) == list(range(100))
    assert min(times[1:]) - times[0] >= 0.95 and len(free.requests) > 30
    closed = serve(model, always(status=429, headers=later))
    assert [reply.value for reply in client([closed, free]).ask(question, range(100, 130), "more")] == [
        *range(100, 130)
    ]


def test_the_rate_is_of_each_endpoint(serve: Serve, client: Client) -> None:
    servers = [serve(model), serve(model)]
    start = time.monotonic()
    ask(client(servers, requests_per_minute=2), 2)
    assert time.monotonic() - start < 25, "a rate of both together holds the second request for 30 s"
    assert [len(server.requests) for server in servers] == [1, 1]


def test_the_rate_is_kept_at_each_endpoint_however_the_requests_are_shared(serve: Serve, client: Client) -> None:
    servers = [serve(model), serve(model)]
    start = time.monotonic()
    ask(client(servers, requests_per_minute=600), 12)
    taken = time.monotonic() - start
    shares = [len(server.requests) for server in servers]
    assert sum(shares) == 12 and taken >= 0.1 * (max(shares) - 1) - 0.01


def test_the_bound_on_the_cost_is_of_all_together(serve: Serve, client: Client) -> None:
    servers = [serve(lambda body: model(body) + " " * 4000) for _ in range(3)]  # 1,000 tokens out
    with pytest.raises(UserError, match=r"llm.max_cost = 5 is reached"):
        ask(client(servers, concurrency=1, max_cost=5.0, price_output=1000.0), 100)
    assert 5 <= sum(len(server.requests) for server in servers) <= 7


def test_beside_another_machine_one_on_this_gets_no_key(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-secret")
    local, other = serve(model, slow(0.05)), serve(model, slow(0.05))
    monkeypatch.setattr("emerge_ehr.privacy.is_loopback", lambda host: host == "127.0.0.1")
    other.url = other.url.replace("127.0.0.1", "localhost")  # stands for another machine here
    leave = {"allow_remote": True, "remote_reason": "our cluster", "allow_http": True}
    assert ask(client([local, other], concurrency=1, **leave), 4) == [0, 1, 2, 3]
    assert local.headers and not any("Authorization" in sent for sent in local.headers)
    assert other.headers and all(sent["Authorization"] == "Bearer sk-secret" for sent in other.headers)


def test_proxies_of_the_environment_do_not_read_what_is_not_encrypted(
    serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = serve(model), serve(model)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-secret")
    monkeypatch.setattr("emerge_ehr.privacy.is_loopback", lambda host: False)
    leave = {"allow_remote": True, "remote_reason": "our cluster", "allow_http": True}
    assert ask(client(server, **leave), 1) == [0] and not proxy.requests


def test_a_client_asks_again_after_its_first_batch(serve: Serve, client: Client) -> None:
    chat = client([serve(model), serve(model)])
    assert ask(chat, 10) == list(range(10))
    assert [reply.value for reply in chat.ask(question, range(10, 20), "more")] == list(range(10, 20))
