"""Finds the JSON objects in a text, those that are nearly JSON included."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST_REPAIRS = 50  # of one text, as each takes its time
KEY = re.compile(r"\{\s*(?:[\"'“‘]?\w[\w -]{0,60}[\"'”’]?\s*:|\})")


@dataclass(frozen=True)
class Found:
    """An object, or a list, and where it stands in the text. ``problem``: why what it means is unclear; ``repaired``: it is not
    quite JSON."""

    value: Any
    start: int
    end: int
    problem: str = ""
    repaired: bool = False


class TwiceError(ValueError):
    """A key stands twice in an object."""


def find(text: str) -> list[Found]:
    """The outermost objects, and the objects in braces that hold no object themselves, in order.

    Raises:
        RecursionError: it is nested too deeply.

    >>> [found.value for found in find("{'a': 1,} and {see {\\"b\\": [2]}}")]
    [{'a': 1}, {'b': [2]}]
    >>> [(found.value, found.problem) for found in find('{"a": [{"b": 1}, {"b"')]
    [({}, 'it breaks off amid a list'), ({'b': 1}, '')]
    """
    ends, repairs, place = _ends(text), MOST_REPAIRS, 0
    found: list[Found] = []
    while (start := text.find("{", place)) >= 0:
        place = start + 1
        if not KEY.match(text, start):
            continue
        strict = _strict(text, start)
        if strict is None and repairs:
            repairs -= 1
            strict = _repaired(text, start, ends.get(start, len(text)))
        if strict is not None:
            found.append(strict)
            place = strict.end if start in ends else place  # behind a brace that is never closed there may be more
    return found


def whole(text: str) -> Found | None:
    """The object or list that the text is, if it is nothing else."""
    try:
        return Found(_decoded(text), 0, len(text))
    except json.JSONDecodeError:
        return None
    except TwiceError as error:
        return Found(json.loads(text), 0, len(text), str(error))


def _strict(text: str, start: int) -> Found | None:
    """The object that starts there, if it is JSON."""
    try:
        value, end = json.JSONDecoder(object_pairs_hook=_once_each).raw_decode(text, start)
    except json.JSONDecodeError:
        return None
    except TwiceError as error:
        value, end = json.JSONDecoder().raw_decode(text, start)
        return Found(value, start, end, str(error))
    return Found(value, start, end)


def _repaired(text: str, start: int, end: int) -> Found | None:
    """The object between two braces, or from a brace to the end of the text, repaired; None if it is none.

    A list that breaks off is not repaired: what was meant is unclear.
    """
    from json_repair import repair_json

    part = text[start:end]
    if part.count("[") > part.count("]"):
        return Found({}, start, len(text), "it breaks off amid a list") if end == len(text) else None
    value = repair_json(part, return_objects=True, skip_json_loads=True)
    if isinstance(value, list):  # text after an object without its end makes the repair see several values
        value = next((each for each in value if isinstance(each, dict)), None)
    return Found(value, start, end, repaired=True) if isinstance(value, dict) and value else None


def _ends(text: str) -> dict[int, int]:
    """The place after the closing brace of each opening one that has one."""
    opened, ends = list[int](), dict[int, int]()
    for match in re.finditer(r"[{}]", text):
        if match[0] == "{":
            opened.append(match.start())
        elif opened:
            ends[opened.pop()] = match.end()
    return ends


def _decoded(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once_each)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dict.

    Raises:
        TwiceError: a key stands twice.
    """
    distinct = dict(pairs)
    if len(distinct) < len(pairs):
        raise TwiceError("a key stands twice in it")
    return distinct


def within(value: Any, without: re.Pattern[str]) -> Iterator[dict[str, Any]]:
    """The objects in an object or a list, outermost first, except those under a key that is ``without``."""
    if isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if not without.search(key):
                yield from within(inner, without)
    elif isinstance(value, list):
        for inner in value:
            yield from within(inner, without)
