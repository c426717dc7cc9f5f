"""What real servers refuse, each in its own words: the client finds out how to ask, tells what was said, and repeats no note."""

import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emerge_ehr.fields import UserError
from emerge_ehr.llm.client import Chat, Question
from emerge_ehr.llm.refusals import read
from tests.chat_server import Body, ChatServer, Fault

Serve = Callable[..., ChatServer]
Client = Callable[..., Chat]
NOTE = "Mrs Jonsdottir, MRN 4471123, has sarcoidosis"


def question(n: int) -> Question[int]:
    return Question("test.v1", "Answer as JSON.", f"n = {n}\n{NOTE}", {"type": "object"}, lambda value: int(value["n"]))


def model(body: Body) -> str:
    number = body["messages"][-1]["content"].split("n = ")[1].split("\n")[0]
    return json.dumps({"n": int(number)})


def ask(chat: Chat, count: int) -> list[int | None]:
    return [reply.value for reply in chat.ask(question, range(count), "numbers")]


def error(message: object, **more: object) -> str:
    return json.dumps({"error": {"message": message, **more}})


def form(body: Body) -> str:
    return str(body.get("response_format", {}).get("type"))


# What servers answer to response_format = json_schema, by their source or their users' reports
NO_SCHEMA = {
    "llama-cpp-python": (
        500,
        error(
            "[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), 'msg': \"Input should be 'text' or "
            "'json_object'\", 'input': 'json_schema', 'ctx': {'expected': \"'text' or 'json_object'\"}}]",
            type="internal_server_error",
            param=None,
            code=None,
        ),
    ),
    "llama.cpp": (
        500,
        error(
            'response_format type must be one of "text" or "json_object", but got: json_schema',
            code=500,
            type="server_error",
        ),
    ),
    "vLLM of old": (
        400,
        json.dumps(
            {
                "object": "error",
                "message": "[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), 'msg': \"Not 'text'\"}]",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            }
        ),
    ),
    "DeepSeek": (
        400,
        error(
            "This response_format type is unavailable now", type="invalid_request_error", code="invalid_request_error"
        ),
    ),
    "FastAPI": (
        422,
        json.dumps(
            {
                "detail": [
                    {"loc": ["body", "response_format"], "msg": "extra fields not permitted", "input": {"x": NOTE}}
                ]
            }
        ),
    ),
    "plain text": (501, "json_schema is not implemented"),
    "with 200": (200, error("Invalid value: 'json_schema'", code=400)),
}


@pytest.mark.parametrize("server_name", NO_SCHEMA)
def test_a_server_without_schemas_is_asked_for_less_after_one_refusal_and_the_finding_is_kept(
    serve: Serve, client: Client, caplog: pytest.LogCaptureFixture, server_name: str
) -> None:
    status, said = NO_SCHEMA[server_name]
    refuses = Fault(status=status, body=said) if status != 200 else Fault(instead=said.encode())
    server = serve(model, lambda n, body: refuses if form(body) == "json_schema" else None)
    server.pages |= {
        "/v1/models": {"data": [{"id": "deepseek-v4-flash", "owned_by": "vllm"}]},
        "/version": {"version": "0.9.1"},
    }
    assert ask(client(server), 30) == list(range(30))
    assert [form(body) for body in server.requests].count("json_schema") == 1 and len(server.requests) == 31
    (warning,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "vLLM 0.9.1" in warning and "answers as a JSON object" in warning and "Jonsdottir" not in caplog.text
    assert "json_schema" in warning or "response_format" in warning
    caplog.clear()
    assert ask(client(server), 60) == list(range(60))
    assert [form(body) for body in server.requests].count("json_schema") == 1 and not caplog.records
    server.pages["/version"] = {"version": "0.10.0"}  # another version may know more, and is asked anew
    ask(client(server), 90)
    assert [form(body) for body in server.requests].count("json_schema") == 2


def test_a_server_without_any_form_is_asked_for_none(serve: Serve, client: Client) -> None:
    refuses = Fault(status=400, body=error("Unrecognized request argument supplied: response_format"))
    server = serve(model, lambda n, body: refuses if "response_format" in body else None)
    assert ask(client(server), 20) == list(range(20)) and len(server.requests) == 22


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        ),
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
        ),
    ],
)
def test_a_field_that_the_server_does_not_know_is_written_otherwise(
    serve: Serve, client: Client, caplog: pytest.LogCaptureFixture, field: str, said: str
) -> None:
    refuses = Fault(
        status=400, body=error(said, type="invalid_request_error", param=field, code="unsupported_parameter")
    )
    server = serve(model, lambda n, body: refuses if field in body else None)
    assert ask(client(server, max_output_tokens=99), 20) == list(range(20)) and len(server.requests) == 21
    assert field not in server.requests[-1] and said[:30] in caplog.text
    assert field != "max_tokens" or server.requests[-1]["max_completion_tokens"] == 99


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            400,
            json.dumps(
                {"object": "error", "message": "System role not supported", "type": "BadRequestError", "code": 400}
            ),
        ),
        (
            500,
            error(
                "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...",
                type="server_error",
            ),
        ),
        (400, error("Only user, assistant and tool roles are supported, got system.")),
    ],
)
def test_without_a_system_role_the_instructions_stand_before_the_question(
    serve: Serve, client: Client, status: int, said: str
) -> None:
    refuses = Fault(status=status, body=said)
    server = serve(model, lambda n, body: refuses if body["messages"][0]["role"] == "system" else None)
    assert ask(client(server), 10) == list(range(10)) and len(server.requests) == 11
    (message,) = server.requests[-1]["messages"]
    assert message["role"] == "user" and message["content"].startswith("Answer as JSON.\n\nn = ")


@pytest.mark.parametrize(
    "said",
    [
        "This model only support stream mode, please enable the stream parameter to access the model. ",
        "Stream must be set to true",
        "parameter.enable_thinking must be set to false for non-streaming calls",
    ],
)
def test_a_server_that_only_streams_is_read_as_a_stream(serve: Serve, client: Client, said: str) -> None:
    refuses = Fault(status=400, body=error(said, code="invalid_parameter_error"))
    server = serve(model, lambda n, body: None if body.get("stream") else refuses)
    chat = client(server)
    assert ask(chat, 10) == list(range(10)) and len(server.requests) == 11
    assert chat.account.paid.prompt_tokens > 0 and chat.account.paid.completion_tokens > 0


def test_several_refusals_are_learnt_one_after_the_other_before_the_crowd_is_sent(serve: Serve, client: Client) -> None:
    def fault(n: int, body: Body) -> Fault | None:
        if form(body) == "json_schema":
            return Fault(status=400, body=error("json_schema is not supported"))
        if "max_tokens" in body:
            return Fault(
                status=400, body=error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
            )
        return Fault(seconds=0.05)

    server = serve(model, fault)
    assert ask(client(server), 40) == list(range(40)) and len(server.requests) == 42


def test_a_configured_form_that_the_server_refuses_ends_the_run_at_once_with_what_it_said(
    serve: Serve, client: Client
) -> None:
    status, said = NO_SCHEMA["llama-cpp-python"]
    server = serve(model, lambda n, body: Fault(status=status, body=said))
    with pytest.raises(
        UserError, match=r"HTTP 500.*response_format.type: Input should be 'text'.*llm.json_mode = \"auto\""
    ) as told:
        ask(client(server, json_mode="schema"), 50)
    assert len(server.requests) == 1 and len(str(told.value)) < 500 and "\n" not in str(told.value)


def test_a_bound_that_the_server_refuses_names_the_setting(serve: Serve, client: Client) -> None:
    said = (
        "max_tokens is too large: 9999. This model supports at most 4096 completion tokens, whereas you provided 9999."
    )
    server = serve(model, lambda n, body: Fault(status=400, body=error(said, param="max_tokens")))
    with pytest.raises(UserError, match=r"at most 4096 completion tokens.*change llm.max_output_tokens"):
        ask(client(server, max_output_tokens=9999), 50)
    assert len(server.requests) == 1


def test_a_field_of_extra_body_that_the_server_refuses_is_named(serve: Serve, client: Client) -> None:
    said = json.dumps({"detail": [{"loc": ["body", "thinking"], "msg": "Extra inputs are not permitted", "input": {}}]})
    server = serve(model, lambda n, body: Fault(status=422, body=said))
    with pytest.raises(
        UserError, match=r"thinking: Extra inputs are not permitted.*take 'thinking' out of llm.extra_body"
    ):
        ask(client(server, extra_body={"thinking": {}}), 50)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            404,
            json.dumps(
                {"object": "error", "message": "The model `m` does not exist.", "type": "NotFoundError", "code": 404}
            ),
        ),
        (404, error('model "m" not found, try pulling it first', type="api_error")),
        (400, error("Model Not Exist", type="invalid_request_error")),
        (400, error("litellm.BadRequestError: Invalid model name passed in model=m", code="400")),
    ],
)
def test_an_unknown_model_lists_those_of_the_server(serve: Serve, client: Client, status: int, said: str) -> None:
    server = serve(model, lambda n, body: Fault(status=status, body=said))
    server.pages["/v1/models"] = {"data": [{"id": "Qwen/Qwen3-32B"}, {"id": "gemma"}]}
    with pytest.raises(
        UserError, match=r"no such model as 'm'; check llm.model; the server has 'Qwen/Qwen3-32B', 'gemma'"
    ):
        ask(client(server, model="m"), 50)
    assert len(server.requests) == 1


def test_a_server_that_answers_as_another_model_is_told_once(
    serve: Serve, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Some servers answer by the one model they have, whatever model they are asked for."""
    echoes, says = serve(model), serve(model)
    echoes.pages["/v1/models"] = {"data": [{"id": "models/gemma.gguf", "owned_by": "me"}]}
    says.serves = "gemma.gguf"
    for server, named, count in (
        (echoes, "'models/gemma.gguf'", 5),
        (says, "'gemma.gguf'", 10),
    ):  # those of before are stored
        ask(client(server), count)
        (warning,) = [record.message for record in caplog.records if "answers by" in record.message]
        assert "asked for llm.model = 'deepseek-v4-flash'" in warning and f"it answers by {named};" in warning
        caplog.clear()
        ask(client(server, model="gemma.gguf"), count)
        assert "answers by" not in caplog.text


@pytest.mark.parametrize(
    ("there", "given"), [("/v1", ""), ("/v1", "/v1/"), ("/v1", "/v1/chat/completions"), ("", "/v1")]
)
def test_the_base_url_may_lack_v1_or_have_it_in_vain(serve: Serve, client: Client, there: str, given: str) -> None:
    server = serve(model)
    server.path = there
    server.pages[f"{there}/models"] = {"data": [{"id": "m"}]}
    server.url = server.url.removesuffix("/v1") + given
    assert ask(client(server), 10) == list(range(10)) and len(server.requests) <= 11


ECHOES = {
    "the whole note": f"Failed to parse the body of the request: {NOTE}",
    "a part of it": "Invalid token in prompt near 'Jonsdottir, MRN 4471123'",
    "printed": "json: {'content': 'n = 1\\nMrs Jonsdottir, MRN 4471123, has sarcoidosis'}",
    "a validation": "[{'type': 'x', 'loc': ('body', 'messages', 0), 'msg': 'Input should be a string', 'input': 'Jonsdottir'}]",
    "cut amid a word": "context: … sarcoido",
    "beside a long message": "model error " * 200 + NOTE,
}


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("kind", ECHOES)
def test_no_word_of_the_note_is_told_or_written(
    serve: Serve, client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(model, lambda n, body: Fault(status=status, body=error(ECHOES[kind], code="Jonsdottir")))
    replies = client(server, retries=0, concurrency=2).ask(question, range(3), "numbers")
    told = " ".join(reply.failure or "" for reply in replies) + caplog.text
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for word in ("Jonsdottir", "4471123", "sarcoid", "Mrs"):
        assert word not in told and word.encode() not in written
    assert all(f"HTTP {status}" in (reply.failure or "") and len(reply.failure or "") < 400 for reply in replies)


def test_the_message_of_a_failure_stands_in_the_record_with_a_code_that_is_a_number(
    serve: Serve, client: Client
) -> None:
    said = json.dumps(
        {"object": "error", "message": "Out of memory on the slot", "type": "BadRequestError", "code": 400}
    )
    server = serve(model, lambda n, body: Fault(status=400, body=said) if n == 1 else None)
    replies = client(server, concurrency=1).ask(question, range(3), "numbers")
    assert replies[1].failure == "HTTP 400 (BadRequestError): Out of memory on the slot"


def test_the_key_in_a_message_is_not_told(serve: Serve, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-very-secret")
    server = serve(model, lambda n, body: Fault(status=400, body=error("invalid parameter sk-very-secret")))
    (reply,) = client(server).ask(question, [1], "numbers")
    assert reply.failure == "HTTP 400"


TOO_LONG = {
    "vLLM": (
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4900 in the messages, 100 in "
        "the completion). Please reduce the length of the messages or completion."
    ),
    "SGLang": "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
    "llama-cpp-python": "Requested tokens (2285) exceed context window of 2048",
    "TGI": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
    "DashScope": "Range of input length should be [1, 129024]",
    "gateway": "prompt is too long: 214000 tokens > 200000 maximum",
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_message_about_the_context_is_recognised(name: str) -> None:
    refusal = read(400, error(TOO_LONG[name], type="BadRequestError").encode())
    assert refusal.too_long and not refusal.unknown_model


def test_a_question_that_leaves_little_room_gets_a_shorter_answer(serve: Serve, client: Client) -> None:
    def fault(n: int, body: Body) -> Fault | None:
        said = (
            f"This model's maximum context length is 2048 tokens. However, you requested {452 + body['max_tokens']} tokens (452 "
            f"in the messages, {body['max_tokens']} in the completion). Please reduce the length of the messages or completion."
        )
        return Fault(status=400, body=error(said)) if 452 + body["max_tokens"] > 2048 else None

    server = serve(model, fault)
    assert ask(client(server), 5) == list(range(5))
    assert server.requests[1]["max_tokens"] == 2048 - 452 - 16


def test_a_finding_of_another_program_version_is_asked_anew(serve: Serve, client: Client, tmp_path: Path) -> None:
    server = serve(model)
    ask(client(server), 1)
    cache = sqlite3.connect(tmp_path / "cache/llm.sqlite")
    with cache:
        cache.execute('UPDATE findings SET manner = \'{"form": "object", "unknown": 1}\'')
    cache.close()
    assert ask(client(server), 2) == [0, 1] and form(server.requests[-1]) == "json_schema"


def test_answers_that_were_asked_for_as_objects_serve_the_default(serve: Serve, client: Client) -> None:
    server = serve(model)
    ask(client(server, json_mode="object"), 5)
    assert ask(client(server), 5) == list(range(5)) and len(server.requests) == 5


def test_a_server_that_bears_few_requests_is_not_sent_many(serve: Serve, client: Client) -> None:
    under_way: list[int] = []

    def fault(n: int, body: Body) -> Fault:
        at_once = server._open
        under_way.append(at_once)
        return Fault(status=429, headers=(("Retry-After", "0"),)) if at_once > 6 else Fault(seconds=0.03)

    server: Any = serve(model, fault)
    assert ask(client(server, concurrency=64), 300) == list(range(300))
    refused = sum(at_once > 6 for at_once in under_way)
    assert max(under_way) <= 16 and refused < 60
    assert sum(at_once > 6 for at_once in under_way[-100:]) < 20


def test_a_server_that_answers_one_at_a_time_is_not_queued_at(serve: Serve, client: Client) -> None:
    import threading

    turn = threading.Lock()

    def one_by_one(body: Body) -> str:
        with turn:
            import time

            time.sleep(0.3)
        return model(body)

    server = serve(one_by_one)
    assert ask(client(server, concurrency=64), 30) == list(range(30))
    assert server.most_at_once <= 4


def test_a_server_that_bears_many_gets_many(serve: Serve, client: Client) -> None:
    server = serve(model, lambda n, body: Fault(seconds=0.4))
    assert ask(client(server, concurrency=32), 200) == list(range(200))
    assert server.most_at_once >= 16


def test_a_configured_form_does_not_overwrite_what_was_found_out(serve: Serve, client: Client) -> None:
    status, said = NO_SCHEMA["llama.cpp"]
    server = serve(model, lambda n, body: Fault(status=status, body=said) if form(body) == "json_schema" else None)
    ask(client(server), 1)
    ask(client(server, json_mode="none"), 2)
    ask(client(server), 3)
    assert [form(body) for body in server.requests].count("json_schema") == 1


def test_a_server_that_never_answers_is_given_up_after_few_questions(serve: Serve, client: Client) -> None:
    server = serve(model, lambda n, body: Fault(seconds=0.3))
    with pytest.raises(UserError, match=r"no answer in 0.05 s, after 3 retries"):
        ask(client(server, timeout_seconds=0.05, retries=3), 100)
    assert len(server.requests) <= 40
