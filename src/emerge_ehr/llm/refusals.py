"""What an endpoint says when it refuses a request: read in the forms that servers give to errors, told without words of notes."""

import json
import re
from dataclasses import dataclass
from typing import Any

LONGEST_READ = 20_000  # characters of a message that are read
LONGEST_TOLD = 240  # characters of a message that are told
CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
VALIDATION = re.compile(r"""'loc': [(\[]([^)\]]*)[)\]], 'msg': (?:"([^"]*)"|'([^']*)')""")  # pydantic's errors, printed
NAME = re.compile(r"[\w.]+")
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|[nrt])")
ABOUT_REQUESTS = re.compile(  # a message without any of these may be anything, so that it is not told
    r"response_format|json|schema|grammar|max_\w*tokens|temperature|context|tokens?\b|stream|\brole|template|"
    r"model|param|field|unsupported|not supported|not implemented|not permitted|invalid|"
    r"memory|slot|busy|overload|queue|loading|capacity",
    re.IGNORECASE,
)
TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size)|maximum (?:context|model|prompt|input|sequence) length|max_(?:model|seq)_len|"
    r"(?:prompt|input|request|sequence|messages?)\b.{0,60}\b(?:too long|too large|longer than|exceed)|input length|"
    r"too many tokens|reduce the length|inputs?\W+(?:tokens|must have less)|at least 1, got -",
    re.IGNORECASE | re.DOTALL,
)
UNKNOWN_MODEL = re.compile(
    r"model_not_found|(?:unknown|invalid|no such) model|model\b.{0,200}?\b(?:not exist|not found|isn't|no such|"
    r"is not (?:available|loaded|served))|not a valid model|no models? loaded",
    re.IGNORECASE | re.DOTALL,
)
NO_PATH = re.compile(r"unexpected endpoint|endpoint or method", re.IGNORECASE)
CONTEXT = re.compile(r"(?:context|n_ctx|maximum model)\b[^0-9]{0,40}?(\d{3,8})", re.IGNORECASE)
PROMPT = re.compile(
    r"(\d+) (?:tokens )?(?:in|from) the (?:input )?(?:messages|prompt|input)|(?:has|passed|contains|least) (\d+) input tokens|"
    r"resulted in (\d+) tokens|"
    r"given: (\d+) `?inputs`? tokens|n_prompt_tokens\D{1,4}(\d+)",
    re.IGNORECASE,
)
# Words that say nothing of a patient, told also where the note has them.
WORDS = """
a an and any are array as at be body but by can cannot code content context could default does either enable error
exceed exceeded exceeds expected extra failed field fields for format from get given got grammar greater has have
however in input inputs instead invalid is it its json json_object json_schema least length less list long longer max
maximum message messages mode model models more most must no not object of on one only option or output parameter
parameters permitted please prompt property provided reduce request requested required response response_format role
schema set should size stream streaming string supported supports system temperature template text than that the this
to token tokens too true type unexpected unknown unrecognized unsupported use user value values was when with without
you your
"""
PLAIN = frozenset(WORDS.split())


@dataclass(frozen=True)
class Refusal:
    """An error of an endpoint. ``message`` may quote the note, and is told by ``told`` only."""

    status: int
    message: str = ""
    parameter: str = ""
    code: str = ""

    @property
    def says(self) -> str:
        """All that was said, for comparisons; not to be told."""
        return f"{self.parameter} {self.code} {self.message}"

    @property
    def too_long(self) -> bool:
        """Whether question and answer are longer together than the model can read."""
        return self.status == 413 or (self.status < 600 and bool(TOO_LONG.search(self.says)))

    @property
    def unknown_model(self) -> bool:
        """Whether the server does not have the model that was named."""
        return bool(UNKNOWN_MODEL.search(self.says)) and not self.too_long

    @property
    def no_path(self) -> bool:
        """Whether there are no chat completions under the URL."""
        return (self.status in (404, 405) and not self.unknown_model) or bool(NO_PATH.search(self.message))

    @property
    def room(self) -> int | None:
        """The tokens of the context that the question leaves for its answer, where the message has the numbers.

        >>> Refusal(400, "This model's maximum context length is 2048 tokens. However, you requested 2500 tokens (452 in the "
        ...         "messages, 2048 in the completion).").room
        1596
        """
        context, prompt = CONTEXT.search(self.message), PROMPT.search(self.message)
        if context is None or prompt is None:
            return None
        return int(context[1]) - int(next(group for group in prompt.groups() if group))

    def told(self, sent: str, key: str) -> str:
        """The error in words for the user, without words of ``sent`` (the request's text) and without the ``key``."""
        text = _unescaped(sent).casefold()
        code = self.code if CODE.fullmatch(self.code) and self.code.casefold() not in text else ""
        words = _masked(self.message, text) if ABOUT_REQUESTS.search(self.message) else ""
        if key and (key in words or key in code):
            return f"HTTP {self.status}"
        named = f" ({code})" if code and (words or self.status < 500) else ""
        return f"HTTP {self.status}{named}" + (f": {words}" if words else "")


def read(status: int, content: bytes) -> Refusal:
    """The error that an answer's body holds, in whatever form.

    >>> read(400, b'{"object": "error", "message": "no", "type": "BadRequestError", "param": null, "code": 400}')
    Refusal(status=400, message='no', parameter='', code='BadRequestError')
    >>> read(422, b'{"detail": [{"loc": ["body", "response_format"], "msg": "bad", "input": {}}]}').message
    'response_format: bad'
    """
    try:
        return _of(status, json.loads(content))
    except (ValueError, RecursionError):
        text = content[: 4 * LONGEST_READ].decode(errors="replace").strip()[:LONGEST_READ]
        return Refusal(status, "" if text.startswith("<") else text)


def _of(status: int, body: Any) -> Refusal:
    body = body[0] if isinstance(body, list) and body else body
    if not isinstance(body, dict):
        return Refusal(status, str(body)[:LONGEST_READ])
    inner = body.get("error") or body
    error = inner if isinstance(inner, dict) else {**body, "message": inner}
    if status == 200 and isinstance(error.get("code"), int) and 400 <= error["code"] < 600:
        status = error["code"]  # a gateway tells the status of the server behind it
    message = next((error[name] for name in ("message", "msg", "detail", "error") if error.get(name)), "")
    if isinstance(message, str) and message.startswith(("{", "[")):  # a server before this one had put it in words
        try:
            return _of(status, json.loads(message))
        except (ValueError, RecursionError):
            pass
    codes = (error.get(name) for name in ("code", "type", "error_type"))
    code = next((value for value in codes if isinstance(value, str) and value), "")
    numbers = "".join(
        f"{name}: {error[name]}; " for name in ("n_ctx", "n_prompt_tokens") if isinstance(error.get(name), int)
    )
    parameter = error.get("param") if isinstance(error.get("param"), str) else ""
    return Refusal(status, numbers + _message(message)[:LONGEST_READ], str(parameter)[:200], code)


def _message(value: object) -> str:
    """The message as a line; of a validation's list the places and reasons only, as its ``input`` repeats the request."""
    if isinstance(value, list):
        parts = [part for part in value if isinstance(part, dict)]
        return "; ".join(f"{_place(part.get('loc'))}: {part.get('msg')}" for part in parts[:5])
    if isinstance(value, dict):
        return str(value.get("message") or value.get("msg") or "")
    text = str(value)
    printed = VALIDATION.findall(text[:LONGEST_READ])
    reasons = [f"{_place(NAME.findall(place))}: {double or single}" for place, double, single in printed[:5]]
    return "; ".join(reasons) or text


def _place(loc: object) -> str:
    parts = [str(part) for part in loc if part != "body"] if isinstance(loc, list | tuple) else []
    return ".".join(parts)


def _masked(message: str, text: str) -> str:
    """The message in one line of at most ``LONGEST_TOLD`` characters, "…" in place of the words that ``text`` has too.

    Empty if those are most of it.

    >>> _masked("Input should be 'text', not 'Mrs Jones has asthma'", "mrs jones has asthma. what is the text?")
    "Input should be 'text', not '… has …'"
    """
    line = " ".join(_unescaped(message).split())
    line = line if len(line) <= LONGEST_TOLD else line[:LONGEST_TOLD].rsplit(" ", 1)[0] + " …"
    pieces = re.split(r"(\w+)", line)
    words = pieces[1::2]
    known = set(re.findall(r"\w+", text))
    hidden = [word.casefold() not in PLAIN and _occurs(word.casefold(), text, known) for word in words]
    if not words or 2 * sum(hidden) >= len(words):
        return ""
    pieces[1::2] = ["…" if masked else word for word, masked in zip(words, hidden, strict=True)]
    return re.sub(r"…(?:\W{1,3}…)+", "…", "".join(pieces))


def _occurs(word: str, text: str, known: set[str]) -> bool:
    return word in known or (len(word) > 3 and word in text)


def _unescaped(text: str) -> str:
    """The text with escapes of printed strings resolved, so that words beside them are found.

    >>> _unescaped(r"Smith\\nJos\\u00e9")
    'Smith José'
    """
    return ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)) if match[1] or match[2] else " ", text)
