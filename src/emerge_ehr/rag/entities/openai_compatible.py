"""Prompted extraction: a language model lists the mentions, and those that literally occur in the text are kept.

This filter against hallucinations (Zhu et al. 2024, section 4.2) also makes instructions inside a note harmless: a model that
obeys them can only leave mentions out, or list others that stand in the same patient's text.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, get_args

from pydantic import TypeAdapter

from emerge_ehr import components
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool
from emerge_ehr.fields import Component, Positive, UserError
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.llm.answers import closed_schema, examples, usable
from emerge_ehr.llm.client import Chat, Question, Reply
from emerge_ehr.llm.fence import fence_of
from emerge_ehr.llm.prompts import read
from emerge_ehr.llm.windows import windows
from emerge_ehr.rag.entities import Entity, EntityExtractor, Extraction, Status
from emerge_ehr.rag.mentions import copies

log = logging.getLogger(__name__)
NAME = "openai_compatible"
LONGEST = 200  # characters of a mention
SHORTEST = 2
# Words for a status in clinical text and in data sets of assertions (i2b2 2010, ConText), for models that use those
_SYNONYMS: Mapping[Status, str] = {
    "present": "positive, affirmed, affirmative, confirmed, active, current, yes, true, existing, acute, chronic, ongoing",
    "negated": "negative, absent, denied, denies, ruled out, excluded, no, none, false, not present, negation, not mentioned",
    "family": "family history, familial, relative, relatives, family member, other person, associated with someone else",
    "hypothetical": "possible, suspected, probable, likely, uncertain, potential, conditional, rule out, r/o, to be excluded, "
    "differential, questionable, speculated, speculative, to be prevented",
    "historical": "history, history of, past, past history, past medical history, pmh, previous, prior, former, resolved, remote",
}
SYNONYMS: Mapping[str, Status] = {
    word: status for status, words in _SYNONYMS.items() for word in (*words.split(", "), status)
}
SMALLEST = 400  # characters; a shorter window that does not fit the model's context is not halved


@dataclass(frozen=True)
class Options:
    """A text is read in windows of at most ``window_characters``, of which neighbours share about ``overlap_characters``."""

    window_characters: Positive = 6000
    overlap_characters: Positive = 300


@dataclass(frozen=True)
class Mention:
    """An item of the model's answer."""

    text: str
    status: Status


@dataclass(frozen=True)
class Mentions:
    """The model's answer."""

    entities: tuple[Mention, ...]


@dataclass(frozen=True)
class Names:
    """The model's answer to the published prompt: the names of diseases alone, all of which count as present."""

    entities: tuple[str, ...]


OF_ONE = TypeAdapter(Mention)
# By ``llm.prompts``: the prompt, and the form of its answer
PROMPTS: Mapping[str, tuple[str, TypeAdapter[Any]]] = {
    "ours": ("entities.v1", TypeAdapter(Mentions)),
    "published": ("entities.published.v1", TypeAdapter(Names)),
}
Span = tuple[int, int, Status]


@dataclass(frozen=True)
class Found:
    """The part of an answer that occurs in the window which the question was about; ``absent`` counts mentions that do not.
    ``counts``: items that were mended or dropped, by what was wrong."""

    spans: tuple[Span, ...]
    absent: int
    counts: Mapping[str, int] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class OpenAICompatibleEntities:
    """Extraction by the language model behind ``chat``.

    ``rules`` map clinicians' words to the graph's names, and replace a model that fails where the config allows it.
    """

    options: Options
    chat: Chat
    rules: EntityExtractor

    def extract(self, texts: Sequence[str]) -> list[Extraction]:
        """The mentions in each text; where a window has no answer, the text has no mentions, or those of the rules."""
        read = self._read(texts)
        cuts = [[(start, end) for start, end, _ in own] for own in read]
        answered = [[reply for _, _, reply in own] for own in read]
        failures = [next((reply.failure for reply in own if reply.failure), None) for own in answered]
        spans = [
            [] if failure else merged(own, [reply.value for reply in answers if reply.value])
            for own, answers, failure in zip(cuts, answered, failures, strict=True)
        ]
        absent = sum(reply.value.absent for answers in answered for reply in answers if reply.value)
        if not self.chat.dry:
            log.info(
                "entities: the model found %d mentions; %d more that it listed do not occur in the text and were dropped",
                sum(map(len, spans)),
                absent,
            )
        names = self._names(sorted({text[s:e] for text, own in zip(texts, spans, strict=True) for s, e, _ in own}))
        extractions = [
            Extraction(tuple(Entity(text[s:e], names[text[s:e]], s, e, status) for s, e, status in own), NAME, failure)
            for text, own, failure in zip(texts, spans, failures, strict=True)
        ]
        return self._fall_back(texts, extractions) if self.chat.falls_back else extractions

    def _read(self, texts: Sequence[str]) -> list[list[tuple[int, int, Reply[Found]]]]:
        """The windows of each text and the replies about them. A window that does not fit the model's context is halved."""
        options = self.options
        read: list[list[tuple[int, int, Reply[Found]]]] = [[] for _ in texts]
        pending = [
            (n, start, end)
            for n, text in enumerate(texts)
            for start, end in windows(text, options.window_characters, options.overlap_characters)
        ]
        while pending:
            asked = [(texts[n], start, end) for n, start, end in pending]
            replies = self.chat.ask(partial(_question, self.chat.settings.prompts), asked, "entities")
            too_long = []
            for (n, start, end), reply in zip(pending, replies, strict=True):
                if reply.too_long and end - start > SMALLEST:
                    too_long.append((n, start, end))
                else:
                    read[n].append((start, end, reply))
            if too_long:
                log.warning(
                    "entities: %d of %d windows, of up to %d characters, do not fit the model's context and are read in halves; "
                    "a smaller entities.window_characters saves these requests",
                    len(too_long),
                    len(pending),
                    max(end - start for _, start, end in too_long),
                )
            pending = [
                (n, start + first, start + last)
                for n, start, end in too_long
                for first, last in _halves(texts[n][start:end], options.overlap_characters)
            ]
        return [sorted(own, key=lambda window: window[:2]) for own in read]

    def _names(self, surfaces: Sequence[str]) -> dict[str, str]:
        """The name to look up for each surface: the rules' name, if they recognise the whole surface, else the surface itself."""
        names = {surface: copies.typed(surface) for surface in surfaces}
        for surface, extraction in zip(surfaces, self.rules.extract(list(names.values())), strict=True):
            if extraction.entities and extraction.entities[0].surface == names[surface]:
                names[surface] = extraction.entities[0].name
        return names

    def _fall_back(self, texts: Sequence[str], extractions: Sequence[Extraction]) -> list[Extraction]:
        failed = [n for n, extraction in enumerate(extractions) if extraction.failure]
        by_rules = dict(zip(failed, self.rules.extract([texts[n] for n in failed]), strict=True))
        return [
            replace(by_rules[n], failure=extraction.failure, candidates=()) if n in by_rules else extraction
            for n, extraction in enumerate(extractions)
        ]


def _halves(text: str, overlap: int) -> list[tuple[int, int]]:
    """A window as two or three shorter ones that share about ``overlap`` characters, or an eighth where that is less.

    >>> _halves("No fever. No rash. No pain. Mild cough.", 100)
    [(0, 19), (13, 28), (22, 39)]
    """
    overlap = min(overlap, len(text) // 8)
    return windows(text, len(text) // 2 + overlap + 1, overlap)


def merged(cuts: Sequence[tuple[int, int]], answers: Sequence[Found]) -> list[Span]:
    """The mentions of all windows ``cuts`` with their positions in the whole text, without overlap.

    Where two windows hold the same mention, the first window's status counts; of overlapping mentions that start together, the
    longest is kept, otherwise the first.

    >>> merged([(0, 20), (10, 30)], [Found(((12, 17, "present"),), 0), Found(((2, 7, "negated"), (15, 19, "present")), 0)])
    [(12, 17, 'present'), (25, 29, 'present')]
    """
    by_span: dict[tuple[int, int], Status] = {}
    for (start, _), answer in zip(cuts, answers, strict=True):
        for first, last, status in answer.spans:
            by_span.setdefault((start + first, start + last), status)
    chosen, free = [], 0
    for (first, last), status in sorted(by_span.items(), key=lambda item: (item[0][0], -item[0][1])):
        if first >= free:
            chosen.append((first, last, status))
            free = last
    return chosen


def _question(prompts: str, window: tuple[str, int, int]) -> Question[Found]:
    text, start, end = window
    text = text[start:end]
    name, adapter = PROMPTS[prompts]
    prompt, fence = read(name), fence_of(text)
    system = prompt.system.substitute(statuses=", ".join(f'"{status}"' for status in get_args(Status)), fence=fence)
    user = prompt.user.substitute(text=text, fence=fence)
    return Question(
        name, system, user, closed_schema(adapter), partial(_found, text, system, prompts), _counts, divisible=True
    )


def _found(text: str, system: str, prompts: str, value: dict[str, Any]) -> Found:
    """The mentions of an answer that occur in ``text``. Items that cannot be used are left out.

    Raises:
        ValueError: no item can be used, or the answer only repeats the example of the ``system`` prompt.
    """
    listed = value["entities"]
    if prompts == "published" and isinstance(listed, list):
        listed = [{"text": item, "status": "present"} if isinstance(item, str) else item for item in listed]
    mentions, counts = usable(OF_ONE, listed, "entities", _mended)
    found = placed(text, mentions)
    named, shown = {mention.text for mention in mentions}, examples(system)
    alone = not found.spans and any(named == _named(example) for example in shown)  # with other statuses, too
    if found.absent and (value in shown or alone):
        raise ValueError("it repeats the example of the form")
    return replace(found, counts=counts)


def _named(example: Mapping[str, Any]) -> set[str]:
    """The names in an example of the prompt, by whichever of the forms.

    >>> sorted(_named({"entities": [{"text": "CHF", "status": "negated"}, "copd"]}))
    ['CHF', 'copd']
    """
    items = example.get("entities", [])
    return {str(item.get("text")) if isinstance(item, dict) else str(item) for item in items}


def _mended(item: dict[str, Any]) -> dict[str, Any]:
    """The item with its status in our words, if it is one of theirs.

    >>> _mended({"text": "MI", "status": "Ruled_Out"}), _mended({"text": "MI", "status": "maybe"})
    ({'text': 'MI', 'status': 'negated'}, {'text': 'MI', 'status': 'maybe'})
    """
    status = item.get("status")
    if not isinstance(status, str):
        return item
    words = " ".join(status.casefold().replace("_", " ").replace("-", " ").split()).strip(" .\"'")
    return {**item, "status": SYNONYMS.get(words, status)}


def _counts(found: Found) -> Mapping[str, int]:
    return Counter(found.counts) + Counter({"entities dropped: not in the text": found.absent})


def placed(text: str, mentions: Sequence[Mention]) -> Found:
    """Where the mentions stand in the text, as whole words, also where the model typed them otherwise (``mentions/copies.py``).

    If the same words are mentioned n times, these are their first n places; further places get the last mention's status.

    >>> placed("No MI. An MI in 2010.", [Mention("MI", "negated"), Mention("MI", "present"), Mention("stroke", "present")])
    Found(spans=((3, 5, 'negated'), (10, 12, 'present')), absent=1)
    """
    statuses: dict[str, list[Status]] = {}
    for mention in mentions:
        statuses.setdefault(copies.typed(mention.text), []).append(mention.status)
    spans: list[Span] = []
    absent = 0
    for words, own in statuses.items():
        places = copies.places(text, words) if SHORTEST <= len(words) <= LONGEST else []
        absent += 0 if places else len(own)
        spans += [(start, end, own[min(number, len(own) - 1)]) for number, (start, end) in enumerate(places)]
    return Found(tuple(spans), absent)


def build(options: Options, *, graph: KnowledgeGraph, llm: Chat, pool: Pool = LOCAL) -> EntityExtractor:
    """The extractor over one endpoint.

    Raises:
        UserError: windows that overlap by half or more.
    """
    if 2 * options.overlap_characters >= options.window_characters:
        raise UserError("entities.overlap_characters must be less than half of entities.window_characters")
    return OpenAICompatibleEntities(
        options, llm, components.build("entities", Component("rules"), graph=graph, pool=pool)
    )
