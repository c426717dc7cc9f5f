"""What a patient's notes say in so many words: which words stand in them, close to which others, and denied or not.

Built when a statement first asks, since most statements of the template rest on the graph or on signals alone.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

from emerge_ehr.rag.entities import Entity
from emerge_ehr.rag.faithfulness import modality, wording
from emerge_ehr.rag.names import normal

SENTENCE = re.compile(r"(?<=[.;!?])\s+|\n+")
NEAR = 6  # words between two that belong together
MOST = 40  # occurrences of a word that are looked at
QUOTED = str.maketrans({"“": '"', "”": '"', "’": "'", "‘": "'", "–": "-", "—": "-"})


class Place(NamedTuple):
    """An occurrence of a word: its position, the number of its sentence and its own number among the words."""

    start: int
    end: int
    sentence: int
    word: int


@lru_cache(200_000)
def _meanings(word: str) -> tuple[float | None, tuple[str, ...]]:
    """The number that a word is, if it is one; the stems of the word and of what it belongs to, each once."""
    return wording.number(word), tuple(dict.fromkeys(map(wording.stem, (word, *wording.broader(word)))))


@dataclass
class NotesText:
    """The notes of one patient; ``consulted`` is set when anything is asked of them."""

    text: str
    entities: Sequence[Entity]
    consulted: bool = False
    _modalities: dict[int, modality.Modality] = field(default_factory=dict)

    @property
    def _index(self) -> tuple[dict[str, list[Place]], dict[float, list[Place]], list[set[str]]]:
        self.consulted = True
        return self._words

    @cached_property
    def _words(self) -> tuple[dict[str, list[Place]], dict[float, list[Place]], list[set[str]]]:
        """The places of each stem, of each number, and the stems of each sentence; a disease's name counts as written with it."""
        ends = [match.start() for match in SENTENCE.finditer(self.text)]
        stems: dict[str, list[Place]] = {}
        numbers: dict[float, list[Place]] = {}
        sentences: list[set[str]] = [set() for _ in range(len(ends) + 1)]
        named = {entity.start: entity for entity in self.entities}
        sentence = 0
        for n, match in enumerate(wording.words(self.text)):
            start = match.start()
            while sentence < len(ends) and ends[sentence] <= start:
                sentence += 1
            place = Place(start, match.end(), sentence, n)
            value, forms = _meanings(match[0])
            if value is not None:
                numbers.setdefault(value, []).append(place)
            if start in named:
                entity = named[start]
                place = Place(start, entity.end, sentence, n)
                forms = tuple(dict.fromkeys([*forms, *map(wording.stem, normal(entity.name).split())]))
            for form in forms:
                stems.setdefault(form, []).append(place)
            sentences[sentence].update(forms)
        return stems, numbers, sentences

    def places(self, word: str) -> list[Place]:
        """Where the word, or one of its forms or synonyms, stands."""
        return self._index[0].get(wording.stem(word), [])[:MOST]

    def quotes(self, words: str) -> bool:
        """Whether the notes hold these words literally, but for white space and the form of quotation marks."""
        self.consulted = True
        return words in self.text or " ".join(words.translate(QUOTED).lower().split()) in self._plain

    @cached_property
    def _plain(self) -> str:
        return " ".join(self.text.translate(QUOTED).lower().split())

    def says(self, words: str, stated: modality.Modality) -> bool:
        """Whether all the ``words`` stand close to each other somewhere, in a way that allows what is ``stated`` of them."""
        return any(modality.allows(self.modality(place), stated) for place in self._phrase(words))

    def only_past(self, words: str) -> bool:
        """Whether the ``words`` stand somewhere, and everywhere as of something past."""
        places = self._phrase(words)
        return bool(places) and all("past" in self.modality(place) for place in places)

    def _phrase(self, words: str) -> list[Place]:
        first, *others = words.split() or [""]
        return [place for place in self.places(first) if all(self._near(place, other) for other in others)]

    def modality(self, place: Place) -> modality.Modality:
        """How the notes speak of what stands at a place."""
        if place.start not in self._modalities:
            self._modalities[place.start] = modality.at(self.text, place.start, place.end)
        return self._modalities[place.start]

    def near(self, word: str, other: str) -> bool:
        """Whether two words stand close to each other in a sentence."""
        return any(self._near(place, other) for place in self.places(word))

    def shares_sentence(self, word: str, other: str) -> bool:
        """Whether two words stand in one sentence."""
        form = wording.stem(other)
        return any(form in self._index[2][place.sentence] for place in self.places(word))

    def _near(self, place: Place, other: str) -> bool:
        return any(
            abs(place.word - at.word) <= NEAR and place.sentence == at.sentence
            for at in self._index[0].get(wording.stem(other), ())
        )

    def number_with(self, value: float, words: Iterable[str], unit: str | None) -> bool:
        """Whether the number stands in a sentence with one of the words, and with the ``unit`` if one is given."""
        stems = {wording.stem(word) for word in words}
        _, numbers, sentences = self._index
        return any(
            stems & sentences[place.sentence] and (unit is None or self._has_unit(place, unit))
            for place in numbers.get(value, ())
        )

    def _has_unit(self, place: Place, unit: str) -> bool:
        """Whether the unit follows the number; a unit of time may be missing, or be abbreviated."""
        if not modality.TIME_UNIT.fullmatch(unit):
            return self.text[place.end : place.end + 40].lower().lstrip().startswith(unit.lower())
        after = modality.TIME_UNIT.match(self.text, place.end)
        return after is None or after[1].lower()[0] == unit.lower()[0]

    def together(self, words: Iterable[str], pattern: re.Pattern[str]) -> bool:
        """Whether one sentence holds all the words and ``pattern``."""
        needed = [wording.stem(word) for word in words]
        sentences = self._index[2]
        texts = SENTENCE.split(self.text)
        return bool(needed) and any(
            all(form in stems for form in needed) and pattern.search(text)
            for stems, text in zip(sentences, texts, strict=True)
        )
