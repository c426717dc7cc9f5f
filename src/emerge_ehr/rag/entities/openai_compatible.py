"""Prompted extraction: a language model lists the mentions, and those that literally occur in the text are kept.

This filter against hallucinations (Zhu et al. 2024, section 4.2) also makes instructions inside a note harmless: a model that
obeys them can only leave mentions out, or list others that stand in the same patient's text.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from pydantic import TypeAdapter

from emerge_ehr import components
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool
from emerge_ehr.fields import Component, Positive, UserError
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.llm.answers import closed_schema, fill
from emerge_ehr.llm.client import Chat, Question
from emerge_ehr.llm.fence import fence_of
from emerge_ehr.llm.prompts import read
from emerge_ehr.llm.windows import windows
from emerge_ehr.rag.entities import Entity, EntityExtractor, Extraction, Status

log = logging.getLogger(__name__)
NAME = "openai_compatible"
PROMPT = "entities.v1"
LONGEST = 200  # characters of a mention
SHORTEST = 2


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


ADAPTER = TypeAdapter(Mentions)
Span = tuple[int, int, Status]


@dataclass(frozen=True)
class Found:
    """The part of an answer that occurs in the window which the question was about; ``absent`` counts mentions that do not."""

    spans: tuple[Span, ...]
    absent: int


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
        options = self.options
        cuts = [windows(text, options.window_characters, options.overlap_characters) for text in texts]
        cut_texts = [(text, start, end) for text, own in zip(texts, cuts, strict=True) for start, end in own]
        replies = iter(self.chat.ask(_question, cut_texts, "entities"))
        answered = [[next(replies) for _ in own] for own in cuts]
        failures = [next((reply.failure for reply in own if reply.failure), None) for own in answered]
        spans = [
            [] if failure else merged(own, [reply.value for reply in answers if reply.value])
            for own, answers, failure in zip(cuts, answered, failures, strict=True)
        ]
        absent = sum(reply.value.absent for answers in answered for reply in answers if reply.value)
        log.info(
            "entities: %d mentions; %d more that the model listed do not occur in the text and were dropped",
            sum(map(len, spans)),
            absent,
        )
        names = self._names(sorted({text[s:e] for text, own in zip(texts, spans, strict=True) for s, e, _ in own}))
        extractions = [
            Extraction(tuple(Entity(text[s:e], names[text[s:e]], s, e, status) for s, e, status in own), NAME, failure)
            for text, own, failure in zip(texts, spans, failures, strict=True)
        ]
        return self._fall_back(texts, extractions) if self.chat.falls_back else extractions

    def _names(self, surfaces: Sequence[str]) -> dict[str, str]:
        """The name to look up for each surface: the rules' name, if they recognise the whole surface, else the surface itself."""
        names = {surface: surface for surface in surfaces}
        for surface, extraction in zip(surfaces, self.rules.extract(surfaces), strict=True):
            if extraction.entities and extraction.entities[0].surface == surface:
                names[surface] = extraction.entities[0].name
        return names

    def _fall_back(self, texts: Sequence[str], extractions: Sequence[Extraction]) -> list[Extraction]:
        failed = [n for n, extraction in enumerate(extractions) if extraction.failure]
        by_rules = dict(zip(failed, self.rules.extract([texts[n] for n in failed]), strict=True))
        return [
            Extraction(by_rules[n].entities, by_rules[n].backend, extraction.failure) if n in by_rules else extraction
            for n, extraction in enumerate(extractions)
        ]


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


def _question(window: tuple[str, int, int]) -> Question[Found]:
    text, start, end = window
    text = text[start:end]
    prompt, fence = read(PROMPT), fence_of(text)
    system = prompt.system.substitute(statuses=", ".join(f'"{status}"' for status in get_args(Status)), fence=fence)
    user = prompt.user.substitute(text=text, fence=fence)
    return Question(PROMPT, system, user, closed_schema(ADAPTER), partial(_found, text))


def _found(text: str, value: dict[str, Any]) -> Found:
    """The mentions of an answer that occur in ``text``.

    Raises:
        ValueError: the answer does not have the form that was asked for.
    """
    mentions: Mentions = fill(ADAPTER, value)
    return placed(text, mentions.entities)


def placed(text: str, mentions: Sequence[Mention]) -> Found:
    """Where the mentions stand in the text, as whole words.

    If the same words are mentioned n times, these are their first n places; further places get the last mention's status.

    >>> placed("No MI. An MI in 2010.", [Mention("MI", "negated"), Mention("MI", "present"), Mention("stroke", "present")])
    Found(spans=((3, 5, 'negated'), (10, 12, 'present')), absent=1)
    """
    statuses: dict[str, list[Status]] = {}
    for mention in mentions:
        statuses.setdefault(" ".join(mention.text.split()), []).append(mention.status)
    spans: list[Span] = []
    absent = 0
    for words, own in statuses.items():
        places = _places(text, words)
        absent += 0 if places else len(own)
        spans += [(start, end, own[min(number, len(own) - 1)]) for number, (start, end) in enumerate(places)]
    return Found(tuple(spans), absent)


def _places(text: str, words: str) -> list[tuple[int, int]]:
    """Where the words stand in the text as written or, if nowhere, in any case; a blank may be a line break in the text."""
    if not SHORTEST <= len(words) <= LONGEST:
        return []
    pattern = r"(?<!\w)" + r"\s+".join(map(re.escape, words.split())) + r"(?!\w)"
    matches = list(re.finditer(pattern, text)) or list(re.finditer(pattern, text, re.IGNORECASE))
    return [match.span() for match in matches]


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
