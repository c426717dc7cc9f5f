"""Every form in which a model or its server mixes thoughts with the answer: no draft is ever taken for it."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from emerge_ehr.fields import UserError
from emerge_ehr.llm import answers
from emerge_ehr.llm.cache import ChatAnswer
from emerge_ehr.llm.client import Chat, Question
from tests.chat_server import Body, ChatServer, Fault

Serve = Callable[..., ChatServer]
Client = Callable[..., Chat]
DRAFT, REAL = '{"n": [1]}', '{"n": [2]}'
THOUGHT = f"Perhaps {DRAFT} but that is denied."
SYSTEM = 'Answer with one JSON object and nothing else, of this form:\n{"n": [7]}\nIf there is none: {"n": []}'
SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "array"}}}


def question(item: int) -> Question[list[Any]]:
    def numbers(value: dict[str, Any]) -> list[Any]:
        if not isinstance(value["n"], list):
            raise ValueError("n is no list")
        return value["n"]

    return Question("test.v1", SYSTEM, f"Which numbers? {item}", SCHEMA, numbers)


def asked(server: ChatServer, client: Client, **llm: object) -> tuple[list[Any] | None, str | None, dict[str, Any]]:
    """The value and the failure of one question, and what the metadata tell of it."""
    chat = client(server, concurrency=1, **llm)
    (reply,) = chat.ask(question, [0], "numbers")
    return reply.value, reply.failure, chat.metadata()["usage"]["test.v1"]


def unused(body: Body) -> str:
    raise AssertionError("the answer is the fault's")


TAGS = {
    "think": ("<think>", "</think>"),
    "thinking": ("<thinking>", "</thinking>"),
    "capitals": ("<THINK>", "</THINK>"),
    "blanks": ("< think >", "</ think >"),
    "attribute": ('<thinking signature="x">', "</thinking>"),
    "other closing": ("<thinking>", "</think>"),
    "thought": ("<thought>", "</thought>"),
    "reasoning": ("<reasoning>", "</reasoning>"),
    "reflection": ("<reflection>", "</reflection>"),
    "scratchpad": ("<scratchpad>", "</scratchpad>"),
    "monologue": ("<inner_monologue>", "</inner_monologue>"),
    "mistral": ("[THINK]", "[/THINK]"),
    "kimi": ("◁think▷", "◁/think▷"),
    "kimi k3": ("<|open|>think<|sep|>", "<|close|>think<|sep|><|open|>response<|sep|>"),
    "seed": ("<seed:think>", "</seed:think>"),
    "minimax": ("<mm:think>", "</mm:think>"),
    "longcat": ("<longcat_think>", "</longcat_think>"),
    "piped": ("<|think|>", "<|/think|>"),
    "cohere": ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    "open thoughts": ("<|begin_of_thought|>", "<|end_of_thought|>\n\n<|begin_of_solution|>"),
    "apertus": ("<|inner_prefix|>", "<|inner_suffix|>"),
    "medgemma": ("<unused94>thought\n", "<unused95>"),
    "pangu": ("[unused16]", "[unused17]"),
    "gemma": ("<|channel>thought\n", "<channel|>"),
    "inkling": ("<|message_model|><|content_thinking|>", "<|end_message|><|message_model|><|content_text|>"),
    "s1": ("<|im_start|>think\n", "<|im_start|>answer\n"),
    "hyperclova": ("<|im_start|>assistant/think\n", "<|im_end|>\n<|im_start|>assistant\n"),
    "escaped": ("&lt;think&gt;", "&lt;/think&gt;"),
    "details": ('<details type="reasoning" done="true">\n<summary>Thought</summary>\n', "</details>"),
    "comment": ("<!-- ", " -->"),
    "fence": ("```thinking\n", "\n```\n"),
    "ollama": ("Thinking...\n", "\n...done thinking.\n\n"),
    "hunyuan": ("<think>\n", "\n</think>\n<answer>\n"),
}


@pytest.mark.parametrize("tag", TAGS)
def test_thoughts_between_marks_are_cut(serve: Serve, client: Client, tag: str) -> None:
    opening, closing = TAGS[tag]
    server = serve(unused, lambda n, body: Fault(content=f"{opening}{THOUGHT}{closing}{REAL}"))
    value, _, told = asked(server, client)
    assert value == [2] and "as it is" not in told["read"] and len(server.requests) == 1


@pytest.mark.parametrize("tag", TAGS)
def test_thoughts_that_do_not_end_are_refused(serve: Serve, client: Client, tag: str) -> None:
    server = serve(unused, lambda n, body: Fault(content=f"{TAGS[tag][0]}{THOUGHT} So {DRAFT}"))
    value, failure, told = asked(server, client)
    assert value is None and "thoughts do not end" in str(failure) and told["failures"] == {"thoughts without end": 1}


T, R = f"<think>{THOUGHT}</think>", f"```json\n{REAL}\n```"
TAKEN = {
    "repeated": f"<think>a</think>{T}{REAL}",
    "repeated with words between": f"{T}Hm.{T}\n{REAL}",
    "nested": f"<think>a <think>{DRAFT}</think> {DRAFT} no.</think>{REAL}",
    "nested otherwise": f"<thinking>a <reflection>{DRAFT}</reflection> {DRAFT}</thinking>{REAL}",
    "another tag within, unclosed": f"<think>the <analysis> says {DRAFT}</think>{REAL}",
    "opened twice": f"<think>\n<think>\n{THOUGHT}</think>{REAL}",
    "opened by the prompt": f"{THOUGHT}</think>{REAL}",
    "opened by the prompt, twice closed": f"a</think>{THOUGHT}</think>{REAL}",
    "after the answer": f"{REAL}{T}",
    "closed at once": f"<think></think>{REAL}",
    "empty tag": f"<think/>{REAL}",
    "stray end at the start": f"</think>{REAL}",
    "several fences": f"```json\n{DRAFT}\n```\nBetter:\n{R}",
    "fence after thoughts": f"{T}\n\nHere it is:\n{R}\nThe note says so.",
    "corrected after it": f"{DRAFT}\nWait, that is denied. Corrected:\n{REAL}",
    "echo before": f'Of this form:\n{{"n": [7]}}\nAnswer: {REAL}',
    "echo after": f'{REAL}\nOf this form:\n{{"n": [7]}}\nIf there is none: {{"n": []}}',
    "placeholder after": f'{REAL}\n(The form is {{"n": ["..."]}})',
    "schema before": json.dumps(SCHEMA) + REAL,
    "schema after": REAL + json.dumps(SCHEMA),
    "other object after": f'{REAL}\n{{"confidence": "high"}}',
    "wrapped": '{"draft": {"n": [1]}, "answer": {"n": [2]}}',
    "thoughts within": '{"thinking": "{\\"n\\": [1]}", "n": [2]}',
    "capital key": '{"N": [2]}',
    "not quite JSON": "{'n': [2,]}",
    "text in JSON": json.dumps(REAL),
    "channels": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{REAL}<|return|>",
    "channels of JSON": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant"
    f"<|channel|>commentary<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{REAL}",
    "channels begun by the prompt": f"{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{REAL}",
    "channels without marks": f"analysisWe need it. {THOUGHT}assistantfinal{REAL}",
    "tags in the final channel": f"<|channel|>final<|message|>{T}{REAL}<|return|>",
    "granite": f"Here is my thought process: {THOUGHT} Here is my response: {REAL}",
    "huatuo": f"## Thinking\n\n{THOUGHT}\n\n## Final Response\n\n{REAL}",
    "bold headings": f"**Reasoning:**\n{THOUGHT}\n\n**Answer:** {REAL}",
    "heading and the answer at the end": f"Thinking process:\n{THOUGHT}\n\n{REAL}",
    "explained at once": f"{REAL}\nNo other number is mentioned. The first is denied in the note.",
    "explained afterwards": f"{REAL}\n\nReasoning: the note says so.",
    "a box": f"{T}<answer><|begin_of_box|>{REAL}<|end_of_box|></answer>",
    "runs on": f"{REAL}<|im_end|>\n<|im_start|>user\nAnother.<|im_end|>\n<|im_start|>assistant\n{DRAFT}",
}
REFUSED = {
    "unclosed after an answer": (f"{REAL}<think>Wait", "thoughts without end"),
    "nested and unclosed": (f"<think>a <think>b</think> {DRAFT}", "thoughts without end"),
    "closed at the very end": (f"{THOUGHT} {DRAFT}</think>", "thoughts only"),
    "no final channel": (f"<|channel|>analysis<|message|>{DRAFT}<|end|>", "thoughts without end"),
    "no final channel and no marks": (f"analysisWe say {DRAFT}", "thoughts without end"),
    "heading without an answer": (f"Thinking:\nDraft {DRAFT} is denied.", "thoughts without end"),
    "granite without a response": (f"Here is my thought process: {DRAFT} no.", "thoughts without end"),
    "only thoughts": (T, "thoughts only"),
    "a draft in words": (f"My draft: {DRAFT}", "taken back afterwards"),
    "taken back in words": (f"{DRAFT}\nWait, that is denied in the note.", "taken back afterwards"),
    "taken back at once": (f"{DRAFT}\nBut the note denies it.", "taken back afterwards"),
    "taken back shortly": (f"{DRAFT}\nThat's wrong.", "taken back afterwards"),
    "changed in words": (f"{DRAFT}\n1 should be removed.", "taken back afterwards"),
    "revised in words": (f"{DRAFT}\nFinal answer: none", "taken back afterwards"),
    "taken back in part": (f'{DRAFT}\nCorrection: {{"m": 2}}', "taken back afterwards"),
    "broken off after a draft": (f'First {DRAFT}, then {{"n": [2, 3', "unclear JSON"),
    "a key twice": ('{"n": [1], "n": [2]}', "unclear JSON"),
    "nested too deeply": ('{"n": ' + "[" * 100_000 + "]" * 100_000 + "}", "unclear JSON"),
    "a refusal": ("I'm sorry, but I can't help with that.", "refused"),
    "words": ("Nothing of note.", "no JSON object"),
    "another object": ('{"result": "none"}', "no JSON object"),
    "another form": ('{"n": 2}', "another form"),
}


@pytest.mark.parametrize("form", TAKEN)
def test_the_answer_is_found_beside_drafts(serve: Serve, client: Client, form: str) -> None:
    server = serve(unused, lambda n, body: Fault(content=TAKEN[form]))
    value, failure, told = asked(server, client)
    assert value == [2], failure
    assert told["read"] and not told["failures"] and len(server.requests) == 1


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_unclear_is_asked_for_again_and_the_reason_recorded(serve: Serve, client: Client, form: str) -> None:
    content, reason = REFUSED[form]
    server = serve(unused, lambda n, body: Fault(content=content) if n < 2 else Fault(content=REAL))
    value, _, told = asked(server, client)
    assert value == [2] and len(server.requests) == 3 and told["failures"] == {}
    server.fault = lambda n, body: Fault(content=content)
    value, failure, told = asked(server, client, temperature=0.5)
    assert value is None and "no usable answer" in str(failure) and told["failures"] == {reason: 1}


PART = {"type": "text", "text": REAL}
MESSAGES: dict[str, dict[str, object]] = {
    "content in parts": {"content": [{"type": "text", "text": '{"n": '}, {"type": "text", "text": "[2]}"}]},
    "a part of thoughts": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]}, PART]},
    "parts of other kinds": {"content": [{"type": "reasoning", "text": DRAFT}, {"type": "output_text", "text": REAL}]},
    "a thought by a flag": {"content": [{"text": DRAFT, "thought": True}, {"text": REAL}]},
    "plain parts": {"content": ['{"n":', " [2]}"]},
    "one part": {"content": PART},
    "an object": {"content": {"n": [2]}},
    "thoughts beside": {"content": REAL, "reasoning_content": DRAFT},
    "thoughts beside and before": {"content": f"{DRAFT}</think>{REAL}", "reasoning": "a"},
}
UNANSWERED: dict[str, tuple[dict[str, object], str, str]] = {
    "thoughts alone": ({"content": None, "reasoning_content": REAL}, "stop", "thoughts only"),
    "thoughts alone, empty": ({"content": "", "reasoning_content": None, "reasoning": REAL}, "stop", "thoughts only"),
    "thoughts alone, Ollama": ({"content": " ", "reasoning_content": None, "thinking": REAL}, "stop", "thoughts only"),
    "parts of thoughts alone": ({"content": [{"type": "thinking", "thinking": REAL}]}, "stop", "thoughts only"),
    "cut off": ({"content": REAL}, "length", "cut off"),
    "cut off amid thoughts": ({"content": None, "reasoning_content": REAL}, "length", "cut off"),
    "cut off, other word": ({"content": '{"n": ['}, "max_tokens", "cut off"),
    "cut off, Mistral's word": ({"content": REAL}, "model_length", "cut off"),
    "refusal": ({"content": None, "refusal": "No."}, "stop", "refused"),
    "refusal as a part": ({"content": [{"type": "refusal", "refusal": "No."}]}, "stop", "refused"),
    "filter": ({"content": ""}, "content_filter", "refused"),
    "filter amid the answer": ({"content": REAL}, "content_filter", "refused"),
    "aborted": ({"content": '{"n": [2'}, "abort", "broken off by the server"),
    "DeepSeek is short of resources": ({"content": ""}, "insufficient_system_resource", "broken off by the server"),
    "a tool": ({"content": None, "reasoning_content": None, "tool_calls": [{"id": "x"}]}, "tool_calls", "calls a tool"),
    "nothing": ({"content": None, "reasoning_content": None}, "stop", "empty"),
    "blank": ({"content": " \n", "reasoning_content": ""}, "stop", "empty"),
}


@pytest.mark.parametrize("form", MESSAGES)
def test_the_text_of_a_message_is_read_in_whatever_form(serve: Serve, client: Client, form: str) -> None:
    server = serve(unused, lambda n, body: Fault(content="", message=MESSAGES[form]))
    value, failure, _ = asked(server, client)
    assert value == [2] and len(server.requests) == 1, failure


@pytest.mark.parametrize("form", UNANSWERED)
def test_a_message_without_an_answer_is_recorded_with_its_reason(serve: Serve, client: Client, form: str) -> None:
    message, finish_reason, reason = UNANSWERED[form]
    server = serve(unused, lambda n, body: Fault(content="", message=message, finish_reason=finish_reason))
    value, failure, told = asked(server, client)
    assert value is None and "no usable answer" in str(failure) and told["failures"] == {reason: 1}
    again = client(server).ask(question, [0], "numbers")  # what is stored tells the same
    assert again[0].value is None and len(server.requests) == 6


def test_marks_in_the_words_of_an_answer_are_no_thoughts(serve: Serve, client: Client) -> None:
    server = serve(unused, lambda n, body: Fault(content='{"n": ["<think>", "a </think> b"]}'))
    assert asked(server, client)[0] == ["<think>", "a </think> b"]


def test_an_answer_that_is_the_same_as_the_example_is_one(serve: Serve, client: Client) -> None:
    server = serve(unused, lambda n, body: Fault(content=f'Draft: {DRAFT}\nAnswer: {{"n": []}}'))
    assert asked(server, client)[0] == []


def test_the_reading_takes_no_time_that_a_hostile_answer_could_waste() -> None:
    start = time.monotonic()
    for text in (
        "{" * 300_000,
        '{"n": [' * 900,
        "<think" * 60_000,
        "\n" * 300_000,
        '{"n' * 100_000,
        "[think " * 50_000,
        "<" * 300_000,
    ):
        with pytest.raises(answers.UnusableError):
            answers.read(ChatAnswer(text, "stop", 0, 0), SCHEMA)
    assert time.monotonic() - start < 10


def test_a_model_that_answers_nonsense_ends_the_run_in_one_line(serve: Serve, client: Client) -> None:
    server = serve(lambda body: "I see.")
    with pytest.raises(UserError, match=r"20 answers in a row cannot be used.*llm.json_mode.*kept") as error:
        client(server, concurrency=1).ask(question, range(100), "numbers")
    assert len(server.requests) == 20 and "\n" not in str(error.value)


def test_with_a_fallback_nonsense_is_not_paid_for_any_longer(serve: Serve, client: Client) -> None:
    server = serve(lambda body: "I see.")
    replies = client(server, concurrency=1, fallback_to_rules=True).ask(question, range(100), "numbers")
    assert all(reply.failure for reply in replies) and len(server.requests) == 20


def test_more_failures_than_the_configured_share_end_the_run(serve: Serve, client: Client, caplog: Any) -> None:
    def fault(n: int, body: Body) -> Fault | None:
        return (
            Fault(content="", message={"content": None})
            if body["messages"][1]["content"].split("?")[1][1] in "01"
            else None
        )

    server = serve(lambda body: REAL, fault)
    with pytest.raises(
        UserError, match=r"numbers: 2 of 8 questions \(25 %\) have no usable answer: thoughts only 2, more than llm.max"
    ):
        client(server, max_failures=0.2).ask(question, range(8), "numbers")
    before = len(server.requests)
    replies = client(server, max_failures=0.25).ask(question, range(8), "numbers")
    assert len([reply for reply in replies if reply.failure]) == 2 and len(server.requests) == before + 6
    assert "2 of 8 questions (25 %) have no usable answer: thoughts only 2" in caplog.text


def test_failed_requests_and_unusable_answers_count_together(serve: Serve, client: Client) -> None:
    server = serve(lambda body: "I see.", lambda n, body: Fault(status=500) if n % 2 else None)
    with pytest.raises(UserError, match=r"in a row|retries"):
        client(server, concurrency=1, retries=0).ask(question, range(1000), "numbers")
    assert len(server.requests) <= 40
