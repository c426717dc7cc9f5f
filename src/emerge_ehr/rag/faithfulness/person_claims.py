"""Checks what a statement says about the person, about counts of evidence, causes and outcomes."""

import re

from emerge_ehr.rag.faithfulness import Claim, modality
from emerge_ehr.rag.faithfulness.evidence import PatientEvidence
from emerge_ehr.rag.faithfulness.names_in_text import blanked
from emerge_ehr.rag.faithfulness.wording import is_neutral, words

AGE = re.compile(
    r"\b(\d{1,3})[- ]?(?:years?|yrs?|y/?o)\b(?:[- ]?old| of age)?|\baged? (?:of )?(\d{1,3})(?: years?)?\b"
    r"|\b(?:wo)?man of (\d{1,3}) years\b",
    re.IGNORECASE,
)
NO_AGE = re.compile(r"(?: ago| history|.{0,3}pack|s? (?:earlier|later|before))", re.IGNORECASE)
DECADE = re.compile(
    r"\bin (?:his|her|their) (?:(early|mid|late)[- ]?)?(\d0)['’]?s\b|\b(septuagenarian|octogenarian|nonagenarian)\b",
    re.I,
)
LATIN = {"septuagenarian": 70, "octogenarian": 80, "nonagenarian": 90}
STAGE = {"elderly": range(65, 130), "middle-aged": range(40, 66), "young": range(40)}
STAGES = re.compile(
    rf"\b({'|'.join(STAGE)})\b(?= (?:\w+ )?(?:patient|wo?man|man|lady|gentleman|(?:fe)?male|adult))", re.IGNORECASE
)
SEX = re.compile(
    r"\b(?:(?P<F>woman|female|lady|she|her|hers|herself)|(?P<M>man|male|gentleman|he|his|him|himself))\b", re.IGNORECASE
)
TIMES = re.compile(r"\b(?:(\d+) (?:times|mentions)|(once|twice))\b", re.IGNORECASE)
COUNT = re.compile(
    r"\b(one|\d+) (?:\w+ ){0,2}?(signals?|diseases?|conditions?|diagnos[ei]s|disorders?|vital signs?)\b", re.IGNORECASE
)
CHANGE = re.compile(
    r"\b(?:(?P<down>fell|drop(?:ped)?|decreased?|declined?)|(?P<up>rose|increased?|climbed|rise))(?: \w+)? from "
    r"(?P<a>\d+(?:\.\d+)?)\D{1,20}?\bto (?P<b>\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
NOTHING = (
    (
        re.compile(
            r"\b(?:no|none of the|without) abnormal (?:\w+ )?(?:signals?|vital signs?|values?|measurements?)\b"
            r"|\bnone of the (?:\w+ )?(?:signals|vital signs|values|measurements) (?:was|were|is|are) abnormal",
            re.I,
        ),
        "signals",
    ),
    (re.compile(r"\bno diseases? (?:was|were|is|are) (?:found|mentioned|named|linked)", re.I), "counts"),
)
OUTCOME = re.compile(
    r"\b(?:will|likely|unlikely|expected|predict\w*|probab\w+|risk (?:of|for)|prognosis|chance)\b[^.;]{0,60}"
    r"\b(?:die|dies|death|dead|mortality|surviv\w+|readmi\w+|discharge[ds]?|recover\w*)\b|\b(?:prognosis|mortality)\b",
    re.IGNORECASE,
)
CAUSE = re.compile(
    r"\b(?:caus(?:ed|es|ing)(?: by)?|due to|because of|owing to|secondary to|as a (?:result|consequence) of|contribut\w+ to"
    r"|(?:leads?|leading|led) to|result(?:s|ed|ing)? (?:in|from)|suggest\w*|indicat(?:es|ing|ive)|explain\w*|attribut\w+ to"
    r"|complicated by|complicating|trigger\w*|precipitat\w+|stem(?:s|med|ming)? from|reflect\w*|provok\w+|induced by"
    r"|driven by)\b",
    re.IGNORECASE,
)
NOTED_CAUSE = re.compile(
    rf"{CAUSE.pattern}|\b(?:from|after|2/2|d/t|given|in (?:the )?setting of|for|with|related to|following)\b",
    re.IGNORECASE,
)
OF_PERSON = re.compile("|".join(pattern.pattern for pattern in (AGE, DECADE, STAGES, SEX)), re.IGNORECASE)
COUNTS = re.compile(f"{TIMES.pattern}|{COUNT.pattern}", re.IGNORECASE)
Found = tuple[list[Claim], str]


def claims(rest: str, text: str, patient: PatientEvidence, subjects: frozenset[int]) -> Found:
    """Claims about the person in ``rest``, which is ``text`` without names and quotations; and ``rest`` without them."""
    checked = list[Claim]()
    for find in (_ages, _sexes):
        found, rest = find(rest, patient)
        checked += found
    found, rest = _counts(rest, text, patient, subjects)
    checked += found
    for match in CHANGE.finditer(rest):
        right = (float(match["b"]) < float(match["a"])) == (match["down"] is not None)
        end = match.start() + len(match["down"] or match["up"])
        checked.append(Claim(match.start(), end, match[0], None if right else "the numbers go the other way"))
        rest = blanked(rest, match.start(), end)
    for pattern, why in (
        (OUTCOME, "it speaks of the outcome, of which there is no evidence"),
        (CAUSE, "a cause that neither documents nor notes state in these words"),
    ):
        for match in pattern.finditer(rest):
            held = patient.notes.together(_content(text, match.start()), NOTED_CAUSE if pattern is CAUSE else pattern)
            checked.append(Claim(*match.span(), match[0], None if held else why))
            rest = blanked(rest, *match.span())
    return checked, rest


def _content(text: str, place: int) -> list[str]:
    """The words around a place that say something: between commas or "and", or else in the same part of its sentence."""
    for around in (modality.segment, modality.part):
        start, end = around(text, place)
        part = CAUSE.sub(" ", text[start:end])
        content = [match[0] for match in words(part) if not is_neutral(match[0])]
        if len(content) > 1:
            break
    return content


def _ages(rest: str, patient: PatientEvidence) -> Found:
    spans = list[tuple[re.Match[str], range]]()
    for match in AGE.finditer(rest):
        if not NO_AGE.match(rest, match.end()):
            age = int(match[1] or match[2] or match[3])
            spans.append((match, range(age, age + 1)))
    for match in DECADE.finditer(rest):
        first = int(match[2]) if match[2] else LATIN[match[3].lower()]
        low, high = {"early": (0, 4), "mid": (3, 7), "late": (6, 10)}.get((match[1] or "").lower(), (0, 10))
        spans.append((match, range(first + low, first + high)))
    spans += [(match, STAGE[match[1].lower()]) for match in STAGES.finditer(rest)]
    checked = [
        Claim(*match.span(), match[0], None if patient.ages & set(stated) else "not the patient's age")
        for match, stated in spans
    ]
    return checked, _without(rest, checked)


def _sexes(rest: str, patient: PatientEvidence) -> Found:
    """Words for a sex; where the notes speak of a relative in the same words, a pronoun may mean the relative."""
    checked = []
    for match in SEX.finditer(rest):
        right = patient.sex == match.lastgroup or "family" in modality.at(rest, *match.span())
        checked.append(Claim(*match.span(), match[0], None if right else "not the patient's sex"))
    return [claim for claim in checked if claim.why or len(claim.text) > 3], _without(rest, checked)


def _counts(rest: str, text: str, patient: PatientEvidence, subjects: frozenset[int]) -> Found:
    """How often a disease is mentioned, how many signals or diseases there are, and that there are none."""
    checked = list[Claim]()
    for match in TIMES.finditer(rest):
        stated = int(match[1]) if match[1] else {"once": 1, "twice": 2}[match[2].lower()]
        if subjects and (match[1] or "mention" in text.lower()):
            right = stated in {patient.counts[node] for node in subjects}
            checked.append(Claim(*match.span(), match[0], None if right else "not how often it is mentioned"))
    for match in COUNT.finditer(rest):
        stated = 1 if match[1].lower() == "one" else int(match[1])
        number = len(patient.signals) if match[2].lower().startswith(("signal", "vital")) else len(patient.counts)
        checked.append(Claim(*match.span(), match[0], None if stated == number else f"there are {number}"))
    for pattern, kind in NOTHING:
        why = "there is some" if getattr(patient, kind) else None
        checked += [Claim(*match.span(), match[0], why) for match in pattern.finditer(text)]
    return checked, _without(rest, checked)


def _without(rest: str, claims: list[Claim]) -> str:
    for claim in claims:
        rest = blanked(rest, claim.start, claim.end)
    return rest
