"""Candidates: words that look like a disease although no dictionary holds them. They count if the linker finds their disease.

There are two kinds. A phrase ends in a word that names a kind of disease (renal dysfunction, hypotension) and begins with the
words before it that occur in the graph's names. A title is the whole of a short text, or a line after "diagnosis:"; it may hold
mentions of the dictionary, which it replaces if it is linked to another disease, as "tuberculous laryngitis" does laryngitis.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from emerge_ehr.rag.entities import Entity, Extraction, Status
from emerge_ehr.rag.mentions.context import statuses
from emerge_ehr.rag.mentions.folding import pattern
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.phrases import EMPTY, words

# Endings that name a kind of disease: the word alone is a candidate.
ENDINGS = (
    "itis emia aemia oma omas osis oses pathy pathies uria penia plegia paresis algia rrhea rrhoea megaly plasia trophy"
    " sclerosis toxicity tension tensive cardia phasia phagia esthesia kinesia kinesias philia thymia tonia"
)
# Words that are a candidate alone, in both numbers.
ALONE = (
    "seizure convulsion arrhythmia dysrhythmia ischemia ischaemia thrombosis embolism infarction neoplasm tumor tumour malignancy"
    " psychosis ataxia hypoxia dementia amnesia palsy paralysis hernia abscess gangrene jaundice ascites vertigo delirium"
    " nystagmus impotence infertility obesity cachexia dehydration"
)
# Words that need another before them: which disease it is stands there.
WITH_MODIFIER = (
    "disease disorder syndrome failure insufficiency deficiency infection cancer carcinoma dystrophy hemorrhage haemorrhage"
    " bleeding stenosis obstruction ulcer fistula anomaly abnormality malformation defect dysfunction injury retardation"
    " impairment disability loss block degeneration rupture perforation effusion fibrillation aneurysm dissection fracture"
    " depression withdrawal dependence abuse poisoning disturbance damage lesion shock crisis anemia anaemia"
    " dystonia deficient malfunction"
)
HEADINGS = ("diagnosis", "diagnoses", "impression", "problem list")  # with a colon, titles follow them
# Words that end a phrase to the left: they say nothing about which disease it is.
STOPPING = (
    "a an and any are as at be been being but by can cause caused causes causing chronic-appearing could did do does during "
    "each either every few for from had has have having he her his if in induced into is it its known later less likely "
    "marked mild minimal moderate more most much my new no non not noted of old on or other our patient patients possible "
    "post pre prior probable produced recent related secondary several severe she significant since some such than that the "
    "their there these they this those though to under until very was we were when which while who with without worsening "
    "you your stable active current currently ongoing resolved resolving one two three four left right underlying "
    "associated due develop developed increased decreased increase decrease show showed shows total rate following further "
    "whether human different common risk treatment therapy study case cases all both present history high low level levels "
    "early late baseline observed"
)
OUTSIDE = frozenset(STOPPING.split())
NO_DISEASE = frozenset(
    ("diagnosis", "diagnoses", "prognosis", "prognoses", "hypnosis", "osmosis", "anesthesia", "anaesthesia")
)
SHORTEST = 7  # characters of a word that is told by its ending alone
MOST_WORDS = 5
AFTER = re.compile(r" of (?:the )?([A-Za-z][\w-]*(?: [A-Za-z][\w-]*)?)")
TITLE_LENGTH = (6, 200)
TITLE_WORDS = 24
BULLET = re.compile(r"[ \t]*(?:[-*•#]+|\d{1,2}[.)])?[ \t]*")
QUALIFIES = re.compile(r"(?<=\w)(?:,| not\b| without\b)")
SENTENCE_WITHIN = re.compile(r"[.;!?]\s+\S|[.!?;]\s*\S+:")
HEADER = re.compile(r"[ \t]*[A-Za-z][A-Za-z /]{1,40}:")
PROSE = re.compile(
    r"\b(?:he|she|was|were|is|are|has|had|have|been|his|her|who|which|patient|pt|presents|presented|will|did|does|mg)\b",
    re.IGNORECASE,
)
MOST_LINES = 60  # after a heading
Links = Mapping[str, tuple[int, float, str]]  # normal form of a name -> node, score, name of the graph


@dataclass(frozen=True, slots=True)
class Head:
    """A pattern at which a candidate may end, or after which titles follow.

    ``kind``: an ending or a word that is a candidate ``alone``, a word that needs a ``modifier``, or a ``heading``.
    """

    kind: Literal["alone", "modifier", "heading"]


def heads() -> dict[str, Head]:
    """Folded pattern -> head. The patterns of endings begin within a word."""
    found = {f"{ending} ": Head("alone") for ending in ENDINGS.split()}
    for listed, head in ((ALONE, Head("alone")), (WITH_MODIFIER, Head("modifier"))):
        for word in listed.split():
            many = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
            found |= {pattern(word): head, pattern(many): head}
    return found | {pattern(heading): Head("heading") for heading in HEADINGS}


def phrase(text: str, end: int, free: int, head: Head, vocabulary: frozenset[str]) -> tuple[int, int] | None:
    """Start and end of the candidate whose last word ends at ``end``, none of it before ``free``; None if it is none.

    ``vocabulary``: the words of the graph's names, which alone may stand before the last word.
    """
    last = start = end
    while last > free and text[last - 1].isalnum():
        last -= 1
    if text[last - 1 : last] == "-" or (head.kind == "alone" and end - last < SHORTEST):
        return None
    if text[last:end].lower() in NO_DISEASE:
        return None
    start = last
    for _ in range(MOST_WORDS - 1):
        before = text.rfind(" ", free, start - 1) + 1 or free
        word = text[before : start - 1].lower()
        if start - 1 <= free or word not in vocabulary or word in OUTSIDE or text[start - 1] != " ":
            break
        start = before
    if head.kind == "modifier" and start == last:
        return _with_site(text, end, last, vocabulary)
    return start, end


def _with_site(text: str, end: int, last: int, vocabulary: frozenset[str]) -> tuple[int, int] | None:
    """ "deficiency of antithrombin": the last word, which begins at ``last``, with what stands after "of"."""
    after = AFTER.match(text, end)
    if after is None:
        return None
    words_after = after[1].lower().split()
    kept = 0
    while kept < len(words_after) and words_after[kept] in vocabulary and words_after[kept] not in OUTSIDE:
        kept += 1
    return (last, after.start(1) + len(" ".join(words_after[:kept]))) if kept else None


def title_spans(text: str, headings: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Where titles stand: the whole of a short text, and the lines after each heading, which ends at one of ``headings``."""
    if len(text) <= TITLE_LENGTH[1] and "\n" not in text.strip():
        yield from _title(text, 0, len(text))
    last = 0
    for end in headings:
        if end < last or text[end : end + 1] != ":":
            continue
        start = end + 1
        for _ in range(MOST_LINES):
            stop = text.find("\n", start)
            stop = len(text) if stop < 0 else stop
            if text[start:stop].strip():
                if start > end + 1 and HEADER.match(text, start, stop):
                    break
                yield from _title(text, start, stop)
            elif start > end + 1:
                break
            last = start = stop + 1
            if start >= len(text):
                break


def _title(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The title in a line, without bullet and full stop, if the line looks like one."""
    bullet = BULLET.match(text, start, end)
    start = bullet.end() if bullet else start
    end = start + len(text[start:end].rstrip(" \t\r.,;"))
    line = text[start:end]
    short = TITLE_LENGTH[0] <= len(line) <= TITLE_LENGTH[1] and len(line.split()) <= TITLE_WORDS
    if short and ":" not in line and not SENTENCE_WITHIN.search(line) and not PROSE.search(line):
        yield start, end


def titles(text: str, headings: Sequence[int], mentions: Sequence[Entity]) -> Iterator[Entity]:
    """The titles in the text of which the mentions leave a word unsaid; ``mentions`` are in order and do not overlap."""
    starts, ends = [mention.start for mention in mentions], [mention.end for mention in mentions]
    for start, end in title_spans(text, headings):
        within = mentions[bisect_right(ends, start) : bisect_left(starts, end)]
        if any(entity.start < start or entity.end > end for entity in within):
            continue
        if len(within) == 1 and not _says_more(text, start, end, within[0]):
            continue
        surface = text[start:end]
        yield Entity(surface, surface, start, end, within[0].status if within else _status(surface))


@lru_cache(maxsize=10_000)  # the same titles come again and again
def _status(title: str) -> Status:
    """The status of the last word before what qualifies it: "Jaundice, unspecified, not of newborn" is no denied jaundice."""
    head = len(QUALIFIES.split(title, maxsplit=1)[0])
    return statuses(title, [(title.rfind(" ", 0, head) + 1, head)])[0]


def _says_more(text: str, start: int, end: int, mention: Entity) -> bool:
    """Whether words outside the mention tell more about the disease than that it is "unspecified" or the like."""
    rest = words(normal(f"{text[start : mention.start]} {text[mention.end : end]}"))
    whole = words(normal(text[start:end]))
    return any(weight > EMPTY and whole.get(stem, 0.0) > EMPTY for stem, weight in rest.items())


def phrases_and_titles(extractions: Sequence[Extraction]) -> tuple[set[str], set[str]]:
    """The names of the candidates that are phrases, and of those that are titles."""
    names: tuple[set[str], set[str]] = (set(), set())
    for extraction in extractions:
        for entity in extraction.candidates:
            names[(entity.start, entity.end) in extraction.titles].add(entity.name)
    return names


def settle(extraction: Extraction, linked: Links, titles_linked: Links | None = None) -> Extraction:
    """The extraction with the candidates that are ``linked`` among its mentions, in place of those that they hold.

    Of its titles those count that are in ``titles_linked``, if it is given.
    A title that is linked to the disease of a mention in it adds nothing, and the mention stays.
    """
    mentions = list(extraction.entities)
    for candidate in extraction.candidates:
        titled = (candidate.start, candidate.end) in extraction.titles
        links = linked if titles_linked is None or not titled else titles_linked
        link = links.get(normal(candidate.name))
        if link is None:
            continue
        held = [entity for entity in mentions if candidate.start < entity.end and entity.start < candidate.end]
        nodes = {linked[normal(entity.name)][0] for entity in held if normal(entity.name) in linked}
        if link[0] not in nodes and (not held or any(_share(link[2], entity.name) for entity in held)):
            mentions = [entity for entity in mentions if entity not in held]
            mentions.append(candidate)
    return replace(
        extraction, entities=tuple(sorted(mentions, key=lambda entity: entity.start)), candidates=(), titles=frozenset()
    )


def _share(one: str, other: str) -> bool:
    """Whether the names of two diseases have a word in common that tells something: methotrexate toxicity is no kind of the
    rheumatoid arthritis in "RA on methotrexate"."""
    first, second = words(normal(one)), words(normal(other))
    return any(weight > EMPTY and second.get(stem, 0.0) > EMPTY for stem, weight in first.items())
