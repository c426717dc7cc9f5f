"""What a language model wrote -> the JSON it was asked for, tolerant of wrapping and small slips."""

import json
import re
from typing import Any

from pydantic import TypeAdapter, ValidationError

from emerge_ehr.llm.cache import ChatAnswer

# Where no reasoning parser is set, thinking models put their thoughts before the answer.
LONGEST = 400_000  # characters of an answer that is read
THOUGHTS = re.compile(r"^\s*(?:<think>)?.*?</think>", re.DOTALL)


def json_object(answer: ChatAnswer) -> dict[str, Any]:
    """The object in the answer; repaired where it is nearly JSON.

    Raises:
        ValueError: there is none, or the answer was cut off.

    A list that breaks off, and a key that stands twice, leave open what was meant: those are no slips to mend.

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
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in it")
    return found


def closed_schema(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """The JSON schema of the answer, its objects closed, as endpoints that hold to it strictly want it."""

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
    """The object in the shape it should have; keys nobody asked for are left out.

    Raises:
        ValueError: it does not fit; the message repeats nothing of the answer but the place.
    """
    try:
        return adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
