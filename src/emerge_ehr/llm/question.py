"""A question to a language model: what is sent, the key that its answers are kept under, and what an answer says."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from emerge_ehr.config import Llm
from emerge_ehr.llm import answers
from emerge_ehr.llm.cache import ChatAnswer

T = TypeVar("T")


@dataclass(frozen=True)
class Question(Generic[T]):
    """A question about the text of a single patient.

    ``prompt`` names the prompt file; ``schema`` is the answer's JSON schema. ``read`` turns the answer's JSON object into a
    value, or raises a ``ValueError`` that says what is wrong. ``counts``: what of the answer was mended or dropped for it.
    ``divisible``: whoever asks divides a text that is too long.
    """

    prompt: str
    system: str
    user: str
    schema: Mapping[str, Any]
    read: Callable[[dict[str, Any]], T]
    counts: Callable[[T], Mapping[str, int]] = lambda value: {}
    divisible: bool = False


@dataclass(frozen=True)
class Reply(Generic[T]):
    """The value read from an answer, or why there is none. ``too_long``: the model's context has no room for a divisible
    question."""

    value: T | None
    failure: str | None = None
    too_long: bool = False


def body(question: Question[Any], settings: Llm, nudge: str = "", json_mode: str = "") -> dict[str, Any]:
    """The request, as a server that knows everything takes it. ``nudge``: words after the question; ``json_mode``: another than
    the configured."""
    messages = [
        {"role": "system", "content": question.system},
        {"role": "user", "content": question.user + nudge},
    ]
    return {"messages": messages, **_parameters(question, settings, json_mode or settings.json_mode)}


def _parameters(question: Question[Any], settings: Llm, json_mode: str) -> dict[str, Any]:
    """Everything in a request, except the messages, that may change its answer."""
    form: dict[str, Any] = {}
    if json_mode == "object":
        form = {"response_format": {"type": "json_object"}}
    elif json_mode in ("schema", "auto"):  # "auto": endpoints that know no schemas are asked for less (manner.py)
        schema = {"name": question.prompt.split(".")[0], "schema": question.schema, "strict": True}
        form = {"response_format": {"type": "json_schema", "json_schema": schema}}
    sampling = {"temperature": settings.temperature, "max_tokens": settings.max_output_tokens}
    return {"model": settings.model, **sampling, **form, **settings.extra_body}


def key_of(question: Question[Any], settings: Llm, json_mode: str = "") -> str:
    """The key that answers to a question are stored under, the same for all endpoints that serve the model, however they were
    asked."""
    content = {"prompt": question.prompt, "body": body(question, settings, json_mode=json_mode)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read(question: Question[T], answer: ChatAnswer) -> tuple[T, tuple[str, ...]]:
    """The value that an answer gives, and the rules by which its object was found.

    Raises:
        UnusableError: it gives none.
    """
    reading = answers.read(answer, question.schema, question.system)
    try:
        return question.read(reading.value), reading.rules
    except ValueError as error:
        raise answers.UnusableError("another form", str(error)) from None
