"""Reads the JSON in a language model's answer, tolerating text around it and small mistakes."""

import json
import re
from typing import Any

from pydantic import TypeAdapter, ValidationError

from emerge_ehr.llm.cache import ChatAnswer

LONGEST = 400_000  # characters; a longer answer is not read
# Where the server has no reasoning parser, thinking models put their thoughts before the answer.
THOUGHTS = re.compile(r"^\s*(?:<think>)?.*?</think>", re.DOTALL)


def json_object(answer: ChatAnswer) -> dict[str, Any]:
    """The JSON object in the answer, repaired where it is nearly JSON.

    An unfinished list, and a key that stands twice, are not repaired: what was meant is unclear.

    Raises:
        ValueError: there is no object, or the answer was cut off or cannot be repaired.

    >>> json_object(ChatAnswer("Sure:\\n```json\\n{'a': [1, 2,]}\\n```", "stop", 0, 0))
    {'a': [1, 2]}
    """
    from json_repair import repair_json

    if answer.finish_reason == "length":
        raise ValueError("it was cut off at the bound on output tokens")
    text = THOUGHTS.sub("", answer.content, count=1).strip()
    if len(text) > LONGEST:
        raise ValueError(f"it has more than {LONGEST} characters")
    try:
        value = json.loads(text, object_pairs_hook=_once_each)
    except json.JSONDecodeError:
        if text.count("[") > text.count("]"):
            raise ValueError("it breaks off amid a list") from None
        value = repair_json(text, return_objects=True, skip_json_loads=True)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if isinstance(value, list):  # text around the object makes the repair see several values
        value = next((part for part in value if isinstance(part, dict)), None)
    if not isinstance(value, dict) or not value:
        raise ValueError("it holds no JSON object")
    return value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dict; a ``ValueError`` if a key stands twice."""
    distinct = dict(pairs)
    if len(distinct) < len(pairs):
        raise ValueError("a key stands twice in it")
    return distinct


def closed_schema(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """The answer's JSON schema with ``additionalProperties: false`` in every object, as strict endpoints demand."""

    def close(part: Any) -> Any:
        if isinstance(part, list):
            return [close(item) for item in part]
        if not isinstance(part, dict):
            return part
        closed = {key: close(value) for key, value in part.items()}
        return {**closed, "additionalProperties": False} if part.get("type") == "object" else closed

    schema: dict[str, Any] = close(adapter.json_schema())
    return schema


def fill(adapter: TypeAdapter[Any], value: dict[str, Any]) -> Any:
    """The answer's object as the adapter's type; keys that were not asked for are left out.

    Raises:
        ValueError: it does not fit. The message names the place but repeats nothing of the answer, which may quote a note.
    """
    try:
        return adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
