"""Cuts a model's thoughts out of its text, for servers that do not separate them.

The forms are those that the reasoning parsers of vLLM, SGLang and llama.cpp know and the models' own documentation names:

- tags of any spelling around a word for thinking: ``<think>`` (DeepSeek, Qwen, Kimi K2, GLM), ``<seed:think>``, ``[THINK]``
  (Mistral), ``◁think▷`` (Kimi), ``<|START_THINKING|>`` (Cohere), ``<|begin_of_thought|>``, ``<thinking>``, ``<reflection>``;
- other pairs of marks (``PAIRS``): Apertus, MedGemma, openPangu, Gemma 4, Kimi K3, Inkling, HyperCLOVA, Ollama;
- channels (gpt-oss), of which only the last ``final`` is the answer, also where the server has left out their marks;
- headings: "Here is my thought process:" (Granite), "## Thinking" and "## Final Response" (HuatuoGPT).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

WORDS = (
    r"chain[ _-]of[ _-]thoughts?|inner[ _-]monologue|scratch[ _-]?pad|thinking|think|thoughts?|reasoning|reason|reflections?|"
    r"rationale|deliberation|contemplation|contemplator|analysis|brainstorm(?:ing)?|monologue|draft|cot"
)
LEFT, RIGHT = r"(?:[<＜◁⟨〈《【\[]|&lt;)", r"(?:[>＞▷⟩〉》】\]]|&gt;)"
TAG = re.compile(
    rf"{LEFT}\s{{0,3}}(?P<slash>/?)[|｜]?(?P<late>/?)\s{{0,3}}(?P<before>(?:[a-z0-9]{{1,20}}[:_.-]){{0,3}})(?P<word>{WORDS})"
    rf"(?P<after>(?:[:_.-][a-z0-9]{{1,20}}){{0,3}})(?:\s+[\w:-]{{1,30}}\s?=[^<>]{{0,200}})?\s{{0,3}}(?P<alone>/?)[|｜]?\s{{0,3}}{RIGHT}",
    re.IGNORECASE,
)
ENDS = re.compile(r"(?:^|[:_.-])(?:end|stop|close|finish)(?:$|[:_.-])", re.IGNORECASE)
# An opening and a closing mark; and whether the closing one tells of thoughts by itself, as where the prompt has opened them.
PAIRS = (
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>", True),
    (r"<unused94>", r"<unused95>", True),
    (r"\[unused16\]", r"\[unused17\]", True),
    (r"<\|channel>(?!\s*final)", r"<channel\|>", True),
    (r"<\|open\|>\s*think\w*\s*<\|sep\|>", r"<\|close\|>\s*think\w*\s*<\|sep\|>", True),
    (r"<\|content_thinking\|>", r"<\|end_message\|>", False),
    (r"<\|im_start\|>\s*(?:assistant/)?think\w*", r"<\|im_start\|>\s*(?:answer|assistant)\b(?!/think)", False),
    (r"<details\b[^>]{0,200}>", r"</details>", False),
    (r"<!--", r"-->", False),
    (r"^Thinking[.]{3}[ \t]*$", r"^[.]{3}done thinking[.]?", True),
    (r"^```\s*(?:think|thinking|thoughts?|reasoning|scratchpad)[ \t]*$", r"^```[ \t]*$", False),
)
MARKS = [
    (re.compile(mark, re.IGNORECASE | re.MULTILINE), opens, alone, f"pair {n}")
    for n, (opening, closing, alone) in enumerate(PAIRS)
    for mark, opens in ((opening, True), (closing, False))
]
# Marks of an answer; the special tokens among them also end a thought that was not closed.
TOKEN = re.compile(
    r"<\|(?:START_RESPONSE|START_TEXT|begin_of_solution|begin_of_answer|begin_of_box|content_text)\|>|"
    r"<\|open\|>\s*response\s*<\|sep\|>",
    re.IGNORECASE,
)
ANSWER = re.compile(
    rf"{TOKEN.pattern}|<(?:final[_-]?)?(?:answer|response|output|solution|result|json|final)>", re.IGNORECASE
)
CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w*)[^<]{0,200}(?:<\|constrain\|>[^<]{0,100})?(?:<\|message\|>)?", re.IGNORECASE
)
END_OF_MESSAGE = re.compile(r"<\|(?:end|return|call|start|channel)\|>", re.IGNORECASE)
BARE_CHANNEL = re.compile(r"\s*(?:analysis|commentary)(?=[A-Z\"'{])")
BARE_FINAL = re.compile(r"assistant\s?final(?:\s?json)?")
# A model that runs on invents the next question, whose answer is of no use.
RUN_ON = re.compile(
    r"<\|(?:im_start|start|start_header_id)\|>\s*user|<\|user\|>|<start_of_turn>\s*user|\[INST\]|<\|endoftext\|>|<\|eot_id\|>|"
    r"<｜end▁of▁sentence｜>|</s>|<eos>",
    re.IGNORECASE,
)
HEAD = r"(?:^[#*_> \t-]{0,10}(?:\d\. )?|here(?:'s|’s| is) my )"
THOUGHT_HEADING = re.compile(
    rf"{HEAD}(?:thought process|thoughts?|thinking process|thinking|reasoning process|reasoning|chain of thought|scratchpad|"
    r"analysis|deliberation)[*_ \t]{0,5}(?::|$)",
    re.IGNORECASE | re.MULTILINE,
)
ANSWER_HEADING = re.compile(
    rf"{HEAD}(?:the |my )?(?:final |corrected |json ){{0,2}}(?:response|answer|output|result|solution|json)[*_ \t]{{0,5}}(?::|$)",
    re.IGNORECASE | re.MULTILINE,
)
CUT, BEGUN, LAST_CHANNEL, IN_WORDS, MARKED, OVERRUN = (
    "thoughts cut",
    "thoughts without their beginning cut",
    "final channel taken",
    "thoughts under a heading cut",
    "marked answer taken",
    "text after its turn cut",
)


class UnclosedError(ValueError):
    """A thought does not end, so that nothing tells it from the answer."""


class Mark(NamedTuple):
    """Where a mark stands, and whether it opens or closes thoughts of the kind ``name``. ``alone``: it closes them also where
    none are open. ``answers``: it opens the answer, which closes all thoughts."""

    start: int
    end: int
    name: str
    opens: bool = False
    alone: bool = False
    answers: bool = False


@dataclass(frozen=True)
class Cut:
    """What is left of a text, by which rules. From the place ``heading`` on it may be thoughts again, under a heading that no
    heading of an answer follows; its length, if there is none."""

    text: str
    rules: tuple[str, ...]
    heading: int


def cut(text: str) -> Cut:
    """The text without thoughts.

    Raises:
        UnclosedError: a thought has no end, or no channel is the final one.

    >>> cut("<think>a</think><think>Draft {1} denied.</think>{2}").text
    '{2}'
    >>> cut("Perhaps {1}?</think>{2}").text, cut("[THINK]a [THINK]b[/THINK] {1}[/THINK]{2}").text
    ('{2}', '{2}')
    """
    rules = []
    own_turn, *beyond = RUN_ON.split(text, maxsplit=1)
    if "".join(beyond).strip():
        rules.append(OVERRUN)
    final = _final_channel(own_turn)
    if final != own_turn:
        rules.append(LAST_CHANNEL)
    text, own = _outside(final)
    rules += own
    answers = list(ANSWER.finditer(text))
    if answers:
        text, rules = text[answers[-1].end() :], [*rules, MARKED]
    thought = THOUGHT_HEADING.search(text)
    if thought and (headings := list(ANSWER_HEADING.finditer(text, thought.end()))):
        text, rules = text[headings[-1].end() :], [*rules, IN_WORDS]
        thought = THOUGHT_HEADING.search(text)
    return Cut(text, tuple(rules), thought.start() if thought else len(text))


def _final_channel(text: str) -> str:
    """The last message in the channel ``final``; the text itself where it knows no channels."""
    channels = list(CHANNEL.finditer(text))
    if channels:
        final = next((match for match in reversed(channels) if match[1].lower() == "final"), None)
        if final is None:
            raise UnclosedError("it has no final channel")
        end = END_OF_MESSAGE.search(text, final.end())
        return text[final.end() : end.start() if end else len(text)]
    if not BARE_CHANNEL.match(text):
        return text
    finals = list(BARE_FINAL.finditer(text))
    if not finals:
        raise UnclosedError("it has no final channel")
    return text[finals[-1].end() :]


def _outside(text: str) -> tuple[str, list[str]]:
    """What stands outside the marks of thoughts, and the rules that applied.

    A closing mark ends the innermost thought of its kind and what is open within it, or else the innermost of any kind. Where
    none is open, the prompt had opened one, and all before the mark is a thought.
    """
    kept, free, stack, rules = list[str](), 0, list[str](), list[str]()
    opened = -1  # where the last mark ended, if it opened a thought
    for mark in _marks(text):
        if mark.opens:
            if stack and opened >= 0 and not text[opened : mark.start].strip() and stack[-1] == mark.name:
                opened = mark.end  # the prompt's and the model's own: one thought that is opened twice
                continue
            if not stack:
                kept.append(text[free : mark.start])
            stack.append(mark.name)
            opened = mark.end
            continue
        opened = -1
        if stack and mark.answers:
            stack.clear()
            free, rules = mark.start, [*rules, CUT]
        elif stack:
            innermost = len(stack) - 1 - stack[::-1].index(mark.name) if mark.name in stack else len(stack) - 1
            if mark.alone or mark.name in stack:
                del stack[innermost:]
            if not stack:
                free, rules = mark.end, [*rules, CUT]
        elif mark.alone:
            kept.clear()
            free, rules = mark.end, [*rules, BEGUN]
    if stack:
        raise UnclosedError("its thoughts do not end")
    return " ".join(part for part in (*kept, text[free:]) if part.strip()), list(dict.fromkeys(rules))


def _marks(text: str) -> list[Mark]:
    """All marks in order of position."""

    def every() -> Iterator[Mark]:
        for match in TAG.finditer(text):
            if not match["alone"]:
                closes = bool(
                    match["slash"] or match["late"] or ENDS.search(match["before"]) or ENDS.search(match["after"])
                )
                yield Mark(match.start(), match.end(), match["word"].lower(), not closes, closes)
        for pattern, opens, alone, name in MARKS:
            for match in pattern.finditer(text):
                yield Mark(match.start(), match.end(), name, opens, alone and not opens)
        for match in TOKEN.finditer(text):
            yield Mark(match.start(), match.end(), "answer", answers=True)

    return sorted(every())
