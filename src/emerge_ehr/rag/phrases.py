"""A disease's name as weighted words: parts that say nothing count little, words of one meaning become one, endings are cut.

Applied to the graph's names and to what is compared with them alike, so that "Malignant neoplasm of kidney, unspecified" and
"renal cancer" have the same words. Titles of ICD are the model for the parts that count little.
"""

import re
from functools import lru_cache

ASIDE = 0.35  # weight of words after "due to", "with", "in" and the like
EMPTY = 0.08  # weight of words that say nothing about the disease
# Parts of titles that say nothing about which disease it is.
SAYS_NOTHING = re.compile(
    r"\b(?:(?:other )?(?:and|or) unspecified|other specified|not otherwise specified|not elsewhere classified"
    r"|(?:organism|cause|type|site|part|stage|severity|etiology|degree|episode of care) (?:and )?unspecified"
    r"|(?:of )?unspecified (?:site|type|cause|organism|part|degree|severity|stage|eye|ear|lower limb|upper limb|side)s?"
    r"|not specified(?: as .*)?|without mention of.*|without (?:complications?|\w+)|not (?:stated|specified|intractable)\b.*"
    r"|(?:initial|subsequent) (?:encounter|episode).*|episode of care.*|(?:tubercle )?bacilli .*|tuberculosis confirmed.*"
    r"|(?:bacteriological|histological) .*|unspecified|nec|nos|others?|so stated|presumed|sequela|uncomplicated|bilateral"
    r"|unilateral|left|right|specified|certain|classified|mention|encounter|native|multiple sites|sites?)\b"
)
SET_ASIDE = re.compile(
    r"(?!^)\b(?:due to|with|in|associated with|following|secondary to|caused by|resulting|affecting|involving|complicating|not"
    r"|from|as|without)\b.*"
)
JOINING = "a an and as at by due for from in is nec nos not of on or the to with without"
LINKING_WORDS = frozenset(JOINING.split())
GENERAL = (
    "disease",
    "syndrome",
    "hereditary",
    "form",
    "type",
    "group",
    "x",
    "linked",
    "susceptibility",
)  # so many diseases have them that they hardly tell
SPELLING = (
    (re.compile("aemi"), "emi"),
    (re.compile("haem"), "hem"),
    (re.compile("oedema"), "edema"),
    (re.compile("tumour"), "tumor"),
    (re.compile(r"\boesoph"), "esoph"),
    (re.compile("phaeo"), "pheo"),
    (re.compile("rrhoea"), "rrhea"),
    (re.compile(r"\bcoel"), "cel"),
    (re.compile("sulph"), "sulf"),
)
PHRASES = (
    ("pressure ulcer", "decubitus ulcer"),
    ("nervous system", "nerve"),
    ("mental retardation", "intellectual disability"),
    ("high blood pressure", "hypertension"),
    ("regional enteritis", "crohn disease"),
    *((f"congenital {word}", "malformation") for word in ("anomalies", "anomaly", "malformations", "malformation")),
    ("congenital deformity", "malformation"),
    *(
        (f"{word} {head}", "mendelian disease")
        for word in ("genetic", "inherited", "hereditary")
        for head in ("disease", "disorder", "defect")
    ),
)
COMPLEMENT = re.compile(r"\bc([1-9])(?= (?:and \w+ )?(?:deficien|defect))")
# What follows a word is what it is compared as: first the sites, then the kinds of disease, then the rest.
SAME = """
renal kidney|hepatic liver|cardiac heart|pulmonary lung|gastric stomach|cerebral brain|intestinal intestine|bowel intestine
ocular eye|cutaneous skin|dermal skin|oral mouth|nasal nose|mammary breast|uterine uterus|ovarian ovary|colonic colon
rectal rectum|vaginal vagina|vulvar vulva|muscular muscle|articular joint|osseous bone|dental tooth|teeth tooth
vascular vessel|nervous nerve|aortic aorta|arterial artery|venous vein|lingual tongue|laryngeal larynx|pharyngeal pharynx
retinal retina|corneal cornea|spinal spine|vertebral spine|biliary bile|urethral urethra|ureteral ureter|ureteric ureter
prostatic prostate|splenic spleen|fetal fetus|neonatal newborn|feet foot
tumor neoplasm|malignancy malignant neoplasm|cancer malignant neoplasm|carcinoma carcinoma malignant neoplasm
adenocarcinoma adenocarcinoma carcinoma malignant neoplasm|hemorrhage bleeding|calculus stone|calculi stone
regurgitation insufficiency|disorder disease|dysfunction disease|toxicity disease|condition disease|lesion disease
pathology disease|disturbance disease|anomaly malformation|abnormality malformation|defect malformation
deformity malformation|nephropathy kidney disease|cardiopathy heart disease|hepatopathy liver disease
nephrotoxicity kidney disease|hepatotoxicity drug induced liver injury|dermatopathy skin disease
arrhythmia heart rhythm disease|dysrhythmia heart rhythm disease|convulsion seizure|convulsive seizure
glycogenosis glycogen storage disease|stricture stenosis|narrowing stenosis|aplasia agenesis|absence agenesis
familial hereditary|inherited hereditary|retardation disability|psychiatric mental|deficient deficiency|infectious infection
virus viral|parasitic parasite|fungal fungus|tubercular tuberculosis|tuberculous tuberculosis|tubercle tuberculosis
suppurative purulent|lymphocytic lymphoblastic|myeloblastic myeloid|psychotic psychosis|schizophrenic schizophrenia
depressive depression|epileptic epilepsy|manic mania|diabetic diabetes|anemic anemia|arthritic arthritis|alcoholic alcohol
polymorphous polymorphic|multilocularis multilocularis alveolar|nevi nevus
ii 2|iii 3|iv 4|vi 6|vii 7|viii 8|ix 9|i 1|v 5
"""
COMPARED_AS = {word: same.split() for word, same in (row.split(" ", 1) for row in re.split(r"[|\n]", SAME.strip()))}
ENDING = re.compile(
    r"(?:osis|otic|ation|ative|ions?|ive|eal|ical|ial|ic|al|ous|ary|ar|us|um|ia|ism|ity|is|ed|ing|a|y|e|o)$"
)
TELLING_ENDING = re.compile(r"(?:itis|oma|emia|pathy|uria|algia)$")

Words = dict[str, float]  # stem -> weight


@lru_cache(100_000)
def words(name: str) -> Words:
    """The stems of a name in normal form, each with its weight.

    >>> words("malignant neoplasm of kidney unspecified")
    {'malignant': 1.0, 'neoplasm': 1.0, 'kidne': 1.0, 'unspecifi': 0.08}
    >>> words("renal cancer due to smoking")
    {'kidne': 1.0, 'malignant': 1.0, 'neoplasm': 1.0, 'smok': 0.35}
    """
    for british, american in SPELLING:
        name = british.sub(american, name)
    name = COMPLEMENT.sub(r"complement component \1", name)
    for phrase, same in PHRASES:
        name = name.replace(phrase, same)
    aside = SET_ASIDE.search(name)
    cut = aside.start() if aside else len(name)
    weights: Words = {}
    for part, weight in ((name[:cut], 1.0), (name[cut:], ASIDE)):
        empty = [match.span() for match in SAYS_NOTHING.finditer(part)]
        for match in re.finditer(r"\w+", part):
            if match[0] in LINKING_WORDS:
                continue
            own = EMPTY if any(start <= match.start() < end for start, end in empty) else weight
            word = singular(match[0])
            for same in COMPARED_AS.get(word, [word]):
                key = stem(same)
                weights[key] = max(weights.get(key, 0.0), own)
    return weights


def singular(word: str) -> str:
    """The singular of an English or Latin plural, as far as the ending shows it.

    >>> [singular(word) for word in ("tumors", "stenoses", "neuropathies", "carcinomata", "abscess")]
    ['tumor', 'stenosis', 'neuropathy', 'carcinoma', 'abscess']
    """
    if len(word) < 5 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith("ses") and not word.endswith(("ases", "uses", "sses")):
        return f"{word[:-2]}is"
    if word.endswith(("omata", "xes", "ches", "sses")):
        return word[:-2]
    return word.removesuffix("s")


def stem(word: str) -> str:
    """The word without an ending that makes an adjective or a noun; endings that name a kind of disease stay.

    >>> stem("hypotensive"), stem("hypotension"), stem("gastritis")
    ('hypotens', 'hypotens', 'gastritis')
    """
    if len(word) < 6 or TELLING_ENDING.search(word):
        return word
    cut = ENDING.sub("", word)
    return cut if len(cut) >= 4 else word
