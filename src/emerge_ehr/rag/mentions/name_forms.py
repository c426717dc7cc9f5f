"""Other ways to write a disease's name: plurals, word order, numerals, spelling, near synonyms of the first and last word."""

import re
from collections.abc import Iterator

from emerge_ehr.rag.mentions.folding import pattern
from emerge_ehr.rag.phrases import singular

ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "x": "10"}
ARABIC = {arabic: roman for roman, arabic in ROMAN.items()}
TYPE = re.compile(r"\b(type|grade|stage|class|factor|group) ([ivx]+|\d{1,2})([a-h]?)\b")
COMPLEMENT = re.compile(r"^complement component c?(\d[a-z]?) deficiency$")
TYPE_LAST = re.compile(r"^(.+?) (type \w+)$")
TYPE_FIRST = re.compile(r"^(type \w+) (.+)$")
# American part of a word -> British; in a name all parts are changed together.
BRITISH = (
    (re.compile(r"(?<!h)emia\b"), "aemia"),
    (re.compile(r"\bhem(?=[aeiopry])"), "haem"),
    (re.compile(r"\banem"), "anaem"),
    (re.compile(r"ischem"), "ischaem"),
    (re.compile(r"edema"), "oedema"),
    (re.compile(r"\besoph"), "oesoph"),
    (re.compile(r"tumor"), "tumour"),
    (re.compile(r"\bped(?=iatric|oph)"), "paed"),
    (re.compile(r"rrhea\b"), "rrhoea"),
    (re.compile(r"\bceliac\b"), "coeliac"),
    (re.compile(r"\bfetal\b"), "foetal"),
    (re.compile(r"\bgynec"), "gynaec"),
    (re.compile(r"\borthopedic"), "orthopaedic"),
    (re.compile(r"\bcecal\b"), "caecal"),
    (re.compile(r"([a-z]{4})iz(?=e[ds]?\b|ing\b|ation)"), r"\1is"),
    (re.compile(r"fiber\b"), "fibre"),
    (re.compile(r"\bgoiter"), "goitre"),
    (re.compile(r"(?<=[a-z])hem(?=orrhag|at)"), "haem"),
)
AMERICAN = (
    (re.compile(r"aemi"), "emi"),
    (re.compile(r"haem"), "hem"),
    (re.compile(r"oedema"), "edema"),
    (re.compile(r"tumour"), "tumor"),
    (re.compile(r"\boesoph"), "esoph"),
    (re.compile(r"phaeo"), "pheo"),
    (re.compile(r"\bpaed"), "ped"),
    (re.compile(r"oea\b"), "ea"),
    (re.compile(r"goitre"), "goiter"),
)
# A name without any of these is the same in both spellings.
SPELLED = re.compile("emi|hem|dema|esoph|tumo|ped|rrh|celi|fetal|gynec|cecal|iz|fiber|goit|phaeo|paed|oea")
# Last word -> words that mean the same there.
HEADS = {
    "carcinoma": ("cancer",),
    "cancer": ("carcinoma", "malignant neoplasm", "malignancy"),
    "neoplasm": ("tumor",),
    "tumor": ("neoplasm",),
    "hemorrhage": ("bleed", "bleeding"),
    "calculus": ("stone",),
    "regurgitation": ("insufficiency",),
    "insufficiency": ("regurgitation",),
    "thrombosis": ("thrombus",),
    "disease": ("disorder",),
    "disorder": ("disease",),
    "deficiency": ("deficient",),
}
# Words for a site that in front of a disease may mean another one.
ONE_WAY = ("biliary", "bladder", "thyroid", "parathyroid", "adrenal", "pituitary", "gi")
# First word -> another word for the same site.
SITES = {
    "kidney": "renal",
    "liver": "hepatic",
    "heart": "cardiac",
    "lung": "pulmonary",
    "stomach": "gastric",
    "prostate": "prostatic",
}
SITES |= {
    "brain": "cerebral",
    "pancreas": "pancreatic",
    "thymus": "thymic",
    "gallbladder": "biliary",
    "colon": "colonic",
}
SITES |= {"gastrointestinal": "gi", "urinary bladder": "bladder", "thyroid gland": "thyroid", "skin": "cutaneous"}
SITES |= {"parathyroid gland": "parathyroid", "adrenal gland": "adrenal", "pituitary gland": "pituitary"}
SITES |= {other: site for site, other in SITES.items() if other not in ONE_WAY}
INHERITED = ("hereditary", "familial", "inherited")
OF_SITE = frozenset(
    {"cancer", "carcinoma", "neoplasm", "tumor", "infection", "deficiency", "stenosis", "thrombosis", "fracture"}
)
OF_SITE |= {
    "abscess",
    "hemorrhage",
    "cirrhosis",
    "dissection",
    "rupture",
    "adenocarcinoma",
    "lymphoma",
    "sarcoma",
    "melanoma",
    "disease",
}
INVERTIBLE = frozenset(
    {"acute", "chronic", "primary", "secondary", "acquired", "congenital", "recurrent", "viral", "bacterial"}
)
EXPLAINED = re.compile(r"^([^()]{4,}) \([^()]*\)$")  # "blindness (disorder)"
EPONYM = re.compile(
    r"^([A-Z][a-zà-ÿ]{3,})(?:['’]s)? (disease|syndrome|lymphoma|sarcoma|tumor|palsy|anemia|chorea|encephalopathy)$"
)
DOUBLE_EPONYM = re.compile(
    r"^((?:von |van |de )?[A-Z][a-zà-ÿ]+(?:-[A-Z][a-zà-ÿ]+)+|von [A-Z][a-z]+) (?:disease|syndrome)$"
)


def forms(name: str) -> tuple[list[str], list[str]]:
    """The folded forms of a name, the name itself first; and its inverted forms, which count only where a phrase ends.

    >>> forms("chronic kidney disease")[0][:2], forms("chronic kidney disease")[1]
    ([' chronic kidney disease ', ' chronic kidney diseases '], [' kidney disease chronic '])
    """
    turned = [_folded(form) for form in _around_commas(name)]
    first = [_folded(name)]
    if first[0].startswith("obsolete "):
        first.append(first[0].removeprefix("obsolete "))
    if explained := EXPLAINED.match(name):
        first.append(_folded(explained[1]))
    ways = [way for form in (*first, *turned) for way in (form, *_ways(form))]
    if eponym := EPONYM.match(name):
        ways.append(_folded(f"{eponym[1]}s {eponym[2]}"))
    if double := DOUBLE_EPONYM.match(name):
        ways.append(_folded(double[1]))
    spelled = [form for way in ways for form in _spellings(way)]
    distinct = dict.fromkeys(form for way in spelled for form in (way, *plurals(way)))
    words = first[0].split()
    inverted = [f"{' '.join(words[1:])} {words[0]}"] if len(words) > 2 and words[0] in INVERTIBLE else []
    return [f" {form} " for form in distinct if form], [f" {form} " for form in inverted]


def _folded(name: str) -> str:
    return pattern(name).strip()


def _around_commas(name: str) -> list[str]:
    """ "cardiomyopathy, dilated" -> "dilated cardiomyopathy"; of more than two parts, the last ones first."""
    parts = [part.strip() for part in name.split(",") if part.strip()]
    if len(parts) < 2 or any(
        part.startswith(("susceptibility", "with", "due", "without", "type", "and ")) for part in parts[1:]
    ):
        return []
    return [" ".join([*reversed(parts[1:]), parts[0]]), *([" ".join([*parts[1:], parts[0]])] if len(parts) > 2 else [])]


def _ways(form: str) -> Iterator[str]:
    """A folded name with its words in another order, or with other words of the same meaning."""
    if last := TYPE_LAST.match(form):
        yield f"{last[2]} {last[1]}"
    if first := TYPE_FIRST.match(form):
        yield f"{first[2]} {first[1]}"
    if form.endswith(" infectious disease"):
        yield form.replace(" infectious disease", " infection")
    if "non" in form:
        yield re.sub(r"\bnon ", "non", form)
        yield re.sub(r"\bnon(?=[a-z]{6})", "non ", form)
    if component := COMPLEMENT.match(form):
        for symbol in (f"complement c{component[1]}", f"c{component[1]}"):
            yield f"{symbol} deficiency"
            yield from _other_heads(f"{symbol} deficiency")
    if single := _singular(form):
        yield single
    yield from _other_heads(form)
    for site, other in SITES.items():
        if form.startswith(f"{site} "):
            moved = f"{other}{form[len(site) :]}"
            yield moved
            yield from _other_heads(moved)
    before, _, after = form.partition(" ")
    if before in INHERITED and after:
        for word in INHERITED:
            yield f"{word} {after}"
            yield from _other_heads(f"{word} {after}")


def _singular(form: str) -> str | None:
    """A folded name of several words with its head in the singular; None if it is no plural, as far as the ending shows it.

    >>> _singular("inborn errors of metabolism"), _singular("bile duct cysts"), _singular("diabetes"), _singular("iritis nos")
    ('inborn error of metabolism', 'bile duct cyst', None, None)
    """
    head, of, rest = form.partition(" of ")
    before, _, last = head.rpartition(" ")
    one = singular(last)
    return f"{before} {one}{of}{rest}" if before and one != last else None


def _other_heads(form: str) -> Iterator[str]:
    """A folded name with its last word replaced or moved: "lung cancer" -> "lung carcinoma", "cancer of the lung"."""
    rest, _, head = form.rpartition(" ")
    others = HEADS.get(head, ()) if rest else ()
    for other in others:
        yield f"{rest} {other}"
    if rest and head in OF_SITE:
        for other in (head, *(other for other in others if other != "deficient")):
            yield f"{other} of {rest}"
            yield f"{other} of the {rest}"


def _spellings(form: str) -> list[str]:
    """The form with Arabic and Roman numerals, each in American and British spelling."""
    numbered = [form]
    if TYPE.search(form):
        numbered += [TYPE.sub(_arabic, form), TYPE.sub(_roman, form)]
    return [
        spelled
        for version in dict.fromkeys(numbered)
        for spelled in dict.fromkeys((version, _respelled(AMERICAN, version), _respelled(BRITISH, version)))
    ]


def _arabic(match: re.Match[str]) -> str:
    return f"{match[1]} {ROMAN.get(match[2], match[2])}{match[3]}"


def _roman(match: re.Match[str]) -> str:
    return f"{match[1]} {ARABIC.get(match[2], match[2])}{match[3]}"


def _respelled(changes: tuple[tuple[re.Pattern[str], str], ...], form: str) -> str:
    if not SPELLED.search(form):
        return form
    if changes is BRITISH and any(british in form for british in ("aem", "oed", "tumour", "oesoph")):
        return form
    for part, other in changes:
        form = part.sub(other, form)
    return form


def plurals(form: str) -> list[str]:
    """Plurals of the last word, and of the head before "of".

    >>> plurals("coronary artery"), plurals("cancer of the lung"), plurals("stenosis")
    (['coronary arteries'], ['cancers of the lung'], ['stenoses'])
    """
    head, of, site = form.partition(" of ")
    if not head[-3:].isalpha() or len(head) < 3:  # a number, a letter or a Roman numeral has no plural
        return []
    if head.endswith("sis"):
        many = [f"{head[:-2]}es"]
    elif head.endswith(("s", "x", "ch", "sh")):
        many = [f"{head}es"]
    elif head.endswith("y") and head[-2:-1] not in "aeou":
        many = [f"{head[:-1]}ies"]
    elif head.endswith("oma"):
        many = [f"{head}s", f"{head}ta"]
    else:
        many = [f"{head}s"]
    return [f"{plural}{of}{site}" for plural in many]
