"""How a server wants to be asked: what it refuses of a request is left out or written otherwise, and what it said is learnt."""

import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from emerge_ehr.llm.refusals import Refusal

Form = Literal["schema", "object", "none"]
LOWER: dict[str, Form] = {"schema": "object", "object": "none"}
FORM = re.compile(
    r"response_format|json_schema|json_object|json[ _]mode|structured[ _]output|guided|grammar|\bschema\b",
    re.IGNORECASE,
)
UNSUPPORTED = (
    r"unsupported|not (?:\w+ )?support|only (?:\w+ )?support|unrecognized|unknown|unexpected|extra|not permitted|not allowed|"
    r"forbidden|deprecated|no longer|instead|only the default|must be|should be"
)
NO_TEMPERATURE = re.compile(
    rf"temperature.*(?:{UNSUPPORTED})|(?:{UNSUPPORTED}).*temperature", re.IGNORECASE | re.DOTALL
)
OTHER_BOUND = re.compile(
    r"max_completion_tokens.*instead|max_tokens.{0,80}(?:unsupported|not support|unrecognized|unknown|not permitted|extra)|"
    r"(?:unsupported|unrecognized|unknown|unexpected|extra)\b.{0,80}max_tokens",
    re.IGNORECASE | re.DOTALL,
)
NO_SYSTEM = re.compile(
    r"system.{0,20}(?:role|message|prompt|instruction)|role.{0,60}system|got system|roles must alternate|only user\b",
    re.IGNORECASE,
)
STREAM = re.compile(
    r"non-stream|stream.{0,60}(?:must|only|require|enable|true)|(?:must|only|require|enable).{0,60}stream",
    re.IGNORECASE,
)
# where servers that call themselves so (``owned_by`` of a model) say their version: path beside the base URL, keys of the JSON
VERSIONS = {
    "vllm": ("vLLM", "/version", ("version",)),
    "sglang": ("SGLang", "/get_server_info", ("version",)),
    "llamacpp": ("llama.cpp", "/props", ("build_info",)),
    "library": ("Ollama", "/api/version", ("version",)),
    "me": ("llama-cpp-python", "/openapi.json", ("info", "version")),
}


@dataclass(frozen=True)
class Manner:
    """How requests to a server are written. ``form``: what is asked of an answer's form; ``bound``: the field that bounds its
    length; ``temperature``, ``system``, ``stream``: whether there is the field, a message of that role, a stream."""

    form: Form = "schema"
    bound: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    system: bool = True
    stream: bool = False

    def written(self, body: dict[str, Any]) -> dict[str, Any]:
        """The request in this manner.

        >>> Manner(form="none", system=False, temperature=False).written({"temperature": 0.0, "response_format": {}, "messages": [
        ...     {"role": "system", "content": "Answer."}, {"role": "user", "content": "Why?"}]})
        {'messages': [{'role': 'user', 'content': 'Answer.\\n\\nWhy?'}]}
        """
        written = dict(body)
        if self.form == "none":
            written.pop("response_format", None)
        elif self.form == "object" and "response_format" in written:
            written["response_format"] = {"type": "json_object"}
        if self.bound != "max_tokens" and "max_tokens" in written:
            bound = written.pop("max_tokens")
            written.setdefault(self.bound, bound)
        if not self.temperature:
            written.pop("temperature", None)
        if not self.system:
            text = "\n\n".join(message["content"] for message in body["messages"])
            written["messages"] = [{"role": "user", "content": text}]
        if self.stream:
            written |= {"stream": True, "stream_options": {"include_usage": True}}
        return written

    def changed(self, refusal: Refusal, free: bool, proven: bool) -> "Manner | None":
        """The manner after a refusal; None if the refusal names nothing that could be written otherwise.

        ``free``: the form may be lowered. ``proven``: the server has answered in this manner, so that only the form of another
        prompt's answer can be at fault.
        """
        says = refusal.says
        if not proven:
            if self.bound == "max_tokens" and OTHER_BOUND.search(says):
                return replace(self, bound="max_completion_tokens")
            if not self.stream and STREAM.search(says):
                return replace(self, stream=True)
        if free and self.form in LOWER and FORM.search(says):
            return replace(self, form=LOWER[self.form])
        if not proven:
            if self.temperature and NO_TEMPERATURE.search(says):
                return replace(self, temperature=False)
            if self.system and NO_SYSTEM.search(says):
                return replace(self, system=False)
        return None

    def record(self) -> dict[str, Any]:
        """The manner as JSON, for the cache."""
        return asdict(self)

    def __str__(self) -> str:
        forms = {
            "schema": "answers by a JSON schema",
            "object": "answers as a JSON object, without a schema",
            "none": "answers without any form of JSON set by the server",
        }
        others = {
            "bound": "max_completion_tokens in place of max_tokens",
            "temperature": "no temperature, so that answers may differ from run to run",
            "system": "the instructions in the user's message",
            "stream": "answers as a stream",
        }
        default = Manner()
        return "; ".join(
            [
                forms[self.form],
                *(text for name, text in others.items() if getattr(self, name) != getattr(default, name)),
            ]
        )


def recalled(record: dict[str, Any]) -> Manner | None:
    """The manner of a record; None if another version of this program wrote it.

    >>> recalled(Manner(form="object").record())
    Manner(form='object', bound='max_tokens', temperature=True, system=True, stream=False)
    """
    return Manner(**record) if record.keys() == {spec.name for spec in fields(Manner)} else None
