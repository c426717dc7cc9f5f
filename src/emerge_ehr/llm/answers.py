"""Reads a language model's answer: the last JSON object of the form asked for, outside thoughts, or why there is none."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from emerge_ehr.llm import message, objects, thoughts
from emerge_ehr.llm.cache import ChatAnswer

T = TypeVar("T")
LONGEST = 400_000  # characters; a longer answer is not read
FENCE = re.compile(r"^```[\w-]*[ \t]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
THOUGHT_KEY = re.compile(r"draft|thought|think|reason|scratch|example|before", re.IGNORECASE)
PLACEHOLDER = re.compile(r'"(?:[.]{3}|\\u2026|<[^<>"]*>|string)"')
# Words before an object on its line that say it is not the answer, and words after the last object that take it back.
ASIDE = re.compile(
    r"\b(?:draft|tentative\w*|first (?:attempt|guess|try|pass)|example|e\.g\.|for instance|perhaps|maybe|instead of|rather than|"
    r"of (?:this|the) form)[^{}\n]{0,20}$",
    re.IGNORECASE,
)
TAKEN_BACK = re.compile(
    r"\A[\s`.,;:)*]*(?:(?:but|however|not quite|hmm?|denied|is (?:denied|wrong|incorrect|not))\b|no[,.;!])|"
    r"\b(?:wait|hold on|correction|on second thought|scratch that|disregard|oops|mistake\w*|apologi[sz]e|actually|"
    r"(?:i was|(?:that|this|it)(?: is| was|['’]s)) (?:wrong|incorrect|not (?:right|correct)|a draft)|"
    r"should (?:instead|rather|have been|be (?:removed|added|dropped|changed|replaced|marked|corrected))|"
    r"let me (?:re\w+|fix|correct|check))\b|\b(?:revised|corrected|final)(?: \w+)?\s*:",
    re.IGNORECASE,
)
AT_END = re.compile(r"[\s`.>*]*(?:</?[\w|/]+>\s*)*$")
REFUSES = re.compile(
    r"\W*(?:i['’]?m (?:really |very )?sorry|i am sorry|sorry|i (?:can['’]?t|cannot|won['’]?t|will not|am not able|am unable)|"
    r"i['’]m (?:not able|unable)|as an ai\b)",
    re.IGNORECASE,
)
# How an answer was read, beside the rules of ``thoughts``
AS_IT_IS, REPAIRED, LAST, INNER, ECHO, LIST = (
    "as it is",
    "repaired",
    "last of several objects",
    "object within another",
    "example of the prompt passed over",
    "list without its object",
)
THINKING = "turn its thinking off by llm.extra_body, or raise llm.max_output_tokens (docs/llm.md, Endpoints)"
FORM = 'set llm.json_mode = "schema" or "object", whichever the endpoint knows, or choose an llm.model that follows instructions'
OTHER_MODEL = "choose another llm.model or endpoint"
# Why an answer cannot be used: what the user is told, and what he can change
ADVICE = {
    "cut off": "raise llm.max_output_tokens, or turn thinking off by llm.extra_body (docs/llm.md, Endpoints)",
    "thoughts only": THINKING,
    "thoughts without end": THINKING,
    "refused": OTHER_MODEL,
    "broken off by the server": "look into the server's log, or choose another endpoint",
    "calls a tool": "ask an endpoint that offers the model no tools",
    "empty": FORM,
    "no JSON object": FORM,
    "taken back afterwards": FORM,
    "another form": FORM,
    "unclear JSON": FORM,
}
ENDED = {
    message.CUT_OFF[-1]: ("cut off", "it was cut off at the bound on output tokens"),
    message.FILTERED[-1]: ("refused", "the endpoint's filter withholds it"),
    message.BROKEN_OFF[-1]: ("broken off by the server", "the server broke it off"),
    message.THOUGHTS_ONLY: ("thoughts only", "it holds thoughts and no answer"),
    message.REFUSAL: ("refused", "the model refuses to answer"),
}


class UnusableError(ValueError):
    """An answer cannot be used; ``reason`` is a key of ``ADVICE``."""

    def __init__(self, reason: str, told: str) -> None:
        super().__init__(told)
        self.reason = reason


@dataclass(frozen=True)
class Reading:
    """The object that an answer holds, and the rules by which it was found."""

    value: dict[str, Any]
    rules: tuple[str, ...]


def read(answer: ChatAnswer, schema: Mapping[str, Any], system: str = "") -> Reading:
    """The last object in the answer that has the keys which ``schema`` requires, outside thoughts; repaired where it is nearly
    JSON. Examples in the ``system`` prompt that the answer repeats beside another object are no answer.

    Raises:
        UnusableError: there is none, it is cut off, or its meaning is unclear.

    >>> read(ChatAnswer("<think>{'a': [0]}</think>So:\\n```json\\n{'a': [1, 2,]}\\n```", "stop", 0, 0), {"required": ["a"]})
    Reading(value={'a': [1, 2]}, rules=('thoughts cut', 'repaired'))
    """
    if answer.finish_reason in ENDED:
        raise UnusableError(*ENDED[answer.finish_reason])
    text = answer.content.strip()
    if not text:
        tool = answer.finish_reason == message.TOOL
        raise UnusableError("calls a tool", "it calls a tool") if tool else UnusableError("empty", "it is empty")
    if len(text) > LONGEST:
        raise UnusableError("no JSON object", f"it has more than {LONGEST} characters")
    try:
        return _whole(text, schema) or _among_others(text, schema, system)
    except RecursionError:
        raise UnusableError("unclear JSON", "it is nested too deeply") from None
    except thoughts.UnclosedError as error:
        raise UnusableError("thoughts without end", str(error)) from None


def _whole(text: str, schema: Mapping[str, Any]) -> Reading | None:
    """The answer that is nothing but JSON. Marks of thoughts in it are words of the note."""
    found = objects.whole(text)
    if found is None:
        return None
    inner = found.value if isinstance(found.value, str) else ""
    if inner.lstrip().startswith("{"):  # JSON as a text in JSON
        found = objects.whole(inner) or found
    reading = _chosen([found], schema) if isinstance(found.value, dict | list) else None
    return reading and Reading(reading.value, reading.rules or (AS_IT_IS,))


def _among_others(text: str, schema: Mapping[str, Any], system: str) -> Reading:
    """The answer among thoughts and other words."""
    left = thoughts.cut(text)
    found = [each for each in _candidates(left.text) if _fits(each, left.text, schema)]
    rules, repeated = list(left.rules), examples(system) if len(found) > 1 else ()
    others = [each for each in found if not _repeats(each, left.text, system, repeated)]
    if len(found) > 1 and len(others) < len(found):
        found, rules = others or found[-1:], [*rules, ECHO]
    counting = [each for each in found if not ASIDE.search(left.text[max(0, each.start - 80) : each.start])]
    counting = [each for each in counting if each.start < left.heading or AT_END.match(left.text, each.end)]
    if not counting:
        raise _nothing(left, bool(found))
    end = counting[-1].end
    if TAKEN_BACK.search(left.text[end : left.heading] if end < left.heading else left.text[end:]):
        raise UnusableError("taken back afterwards", "words after its object take it back")
    reading = _chosen(counting, schema)
    assert reading is not None  # it fits
    return Reading(reading.value, (*rules, *reading.rules) or (AS_IT_IS,))


def _candidates(text: str) -> list[objects.Found]:
    """The objects in the text, and the list that its last fence holds, or the text itself, in order."""
    fences = list(FENCE.finditer(text))
    span = fences[-1].span(1) if fences else (0, len(text))
    listed = objects.whole(text[slice(*span)].strip())
    lists = [objects.Found(listed.value, *span)] if listed is not None and isinstance(listed.value, list) else []
    return sorted([*objects.find(text), *lists], key=lambda found: found.start)


def _nothing(left: thoughts.Cut, has_drafts: bool) -> UnusableError:
    """Why no object of the text counts."""
    if not left.text.strip() and left.rules:
        return UnusableError("thoughts only", "it holds thoughts and no answer")
    if left.heading < len(left.text):
        return UnusableError("thoughts without end", "its thoughts do not end")
    if has_drafts:
        return UnusableError("taken back afterwards", "its object is called a draft or an example")
    if REFUSES.match(left.text.strip()):
        return UnusableError("refused", "the model refuses to answer")
    return UnusableError("no JSON object", "it holds no JSON object of the form asked for")


def _chosen(found: Sequence[objects.Found], schema: Mapping[str, Any]) -> Reading | None:
    """The last of the objects; None if it does not fit."""
    last = found[-1]
    if last.problem:
        raise UnusableError("unclear JSON", last.problem)
    shaped = _shaped(last.value, schema)
    if shaped is None:
        return None
    value, how = shaped
    several = (LAST,) if len(found) > 1 else ()
    repaired = (REPAIRED,) if last.repaired else ()
    return Reading(value, (*several, *repaired, *how))


def _fits(found: objects.Found, text: str, schema: Mapping[str, Any]) -> bool:
    """Whether the object has what the schema requires; one that breaks off, whether it begins so."""
    if found.problem and not found.value:
        keys = "|".join(re.escape(key) for key in schema.get("required", ()))
        return bool(re.compile(rf"{{\s*\W?(?:{keys})\b", re.IGNORECASE).match(text, found.start))
    return _shaped(found.value, schema) is not None


def _shaped(value: Any, schema: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """The last object in the value with the required keys, in whatever case, and how it was found; None if there is none."""
    required = schema.get("required", ())
    parts = list(objects.within(value, THOUGHT_KEY))
    if isinstance(value, list) and len(required) == 1:
        lists = schema.get("properties", {}).get(required[0], {}).get("type") == "array"
        if lists and all(isinstance(part, dict) and required[0] not in part for part in value):
            return {required[0]: value}, (LIST,)
    outermost = parts[:1] if isinstance(value, dict) else []
    for part in [*outermost, *reversed(parts[len(outermost) :])]:
        folded = {key.casefold(): inner for key, inner in part.items()}
        kinds = [type(folded.get(key.casefold())) for key in required]
        # within others only lists: a schema that is repeated has the key too
        if (
            part
            and all(key.casefold() in folded for key in required)
            and (part is value or kinds.count(list) == len(kinds))
        ):
            named = {**part, **{key: part.get(key, folded[key.casefold()]) for key in required}}
            return named, () if part is value else (INNER,)
    return None


def _repeats(found: objects.Found, text: str, system: str, repeated: Sequence[dict[str, Any]]) -> bool:
    """Whether the object is one of the examples ``repeated`` from the prompt, or its scheme. An empty one may be an answer, and
    repeats the prompt only after the prompt's words."""
    if PLACEHOLDER.search(json.dumps(found.value)):
        return True
    if found.value not in repeated:
        return False
    before = " ".join(text[max(0, found.start - 40) : found.start].split())[-10:]
    return any(found.value.values()) or (len(before) > 5 and before in " ".join(system.split()))


def examples(system: str) -> tuple[dict[str, Any], ...]:
    """The objects in a prompt, which models repeat."""
    return tuple(found.value for found in objects.find(system) if found.value and not found.problem)


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


def usable(
    adapter: TypeAdapter[T], listed: Any, name: str, mend: Callable[[dict[str, Any]], dict[str, Any]]
) -> tuple[list[T], Counter[str]]:
    """The items of an answer's list ``name`` that fit, after ``mend``, and how many were mended or dropped, by what was wrong.

    Raises:
        ValueError: it is no list, or none of its items fits. The message names the place but repeats nothing of the answer, which
            may quote a note.
    """
    if not isinstance(listed, list):
        raise ValueError(f"{name}: input should be a valid list")
    fitting, counts, first = list[T](), Counter[str](), ""
    for number, item in enumerate(listed):
        folded = {key.casefold().strip(): value for key, value in item.items()} if isinstance(item, dict) else item
        mended = mend(folded) if isinstance(folded, dict) else folded
        try:
            fitting.append(adapter.validate_json(json.dumps(mended)))
        except ValidationError as error:
            wrong = error.errors()[0]
            field = ".".join(map(str, wrong["loc"]))
            counts[f"{name} dropped: {re.sub(r'[.][0-9]+', '', field) or 'no object'} unusable"] += 1
            first = first or f"{'.'.join(filter(None, (name, str(number), field)))}: {wrong['msg'].lower()}"
        else:
            counts[f"{name} mended"] += mended != item
    if listed and not fitting:
        raise ValueError(first)
    return fitting, +counts
