"""The status of mentions: lines and lists, forms and tables, the reach of cues, sections on one line."""

import pytest

from emerge_ehr.rag.mentions.context import statuses
from emerge_ehr.rag.mentions.forms import mark
from emerge_ehr.rag.mentions.lines import sentences


def read(text: str) -> dict[str, str]:
    """The status of each mention, which stands between < and > in the text."""
    plain, spans = "", []
    for part in text.split("<"):
        name, closed, rest = part.partition(">")
        if closed:
            spans.append((len(plain), len(plain) + len(name)))
        plain += name + rest
    return {plain[start:end]: status for (start, end), status in zip(spans, statuses(plain, spans), strict=True)}


LETTERS = {"p": "present", "n": "negated", "h": "historical", "f": "family", "x": "hypothetical"}


def check(text: str, expected: str) -> None:
    assert list(read(text).values()) == [LETTERS[letter] for letter in expected], text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "pneumonia: not ventilator-associated\npulmonary: disorders of the airways: <COPD>\ncardiovascular: <CHF>",
            "pp",
        ),
        ("Past Medical History:\n<CAD> s/p CABG\nNo known <CKD>\n<COPD>\n<Gout>", "hnhh"),
        ("past medical history:\n<cad>\nno known <ckd>\n<copd>\n<gout>", "hnhh"),
        ("no admission from the operating room, or going there within 4 hours\n<Pneumonia>, aspiration", "p"),
        ("- no <asthma>\n- <gout>", "np"),
        ("? <UTI>\n<Pneumonia>", "xp"),
        ("He denies chest pain, nausea,\n<asthma> or <COPD>.", "nn"),
        ("Ultrasound showed no\n<DVT>.", "n"),
        (
            "CT of the chest with contrast was performed and shows no evidence of acute\n<PE>, dissection or <pneumonia>.",
            "nn",
        ),
        (
            "The CT of the chest that was done at night shows no signs of a left sided\n<Pneumonia>, and of no other kind.",
            "n",
        ),
        ("- denies <asthma>, <stroke>\n  or <TIA>\n- <migraine>", "nnnp"),
        ("Denies:\n<asthma>\n<seizures>\n\nReports:\n<migraine>", "nnp"),
        ("Differential diagnosis:\n- <PE>\n- <pneumonia>\n\nPlan:\nTreat <COPD>.", "xxp"),
    ],
)
def test_a_cue_governs_its_line_and_the_sentence_that_wraps_but_no_other_line(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<Diabetes>: No", "n"),
        ("<Cancer> (breast) - no", "n"),
        ("<Diabetes> (type 2): yes", "p"),
        ("Best-practice therapies (e.g. <DVT>, heartburn)", "x"),
        ("<Asthma>: none", "n"),
        ("<COPD>: denies", "n"),
        ("<Hypertension>: Yes", "p"),
        ("<DM> (-), <CAD> (+)", "np"),
        ("(-) <pneumonia> (+) <PE>", "np"),
        ("-<HTN>", "n"),
        ("PMH: +<CAD>, -<HTN>", "hn"),
        ("Past Medical History:\n-<HTN>\n-<COPD>", "hh"),
        ("+ for <asthma>, - for <COPD>, <stroke>", "pnn"),
        ("[ ] <diabetes> [x] <COPD>", "np"),
        ("<Asthma> [x]  <COPD> [ ]", "pn"),
        ("☐ <gout>\n☑ <cirrhosis>", "np"),
        ("[ ] <HTN>: recheck in clinic", "p"),
        ("<HIV> -", "n"),
        ("<HIV> - on treatment", "p"),
        ("<Anxiety>: denies <anxiety>", "nn"),
        ("<MI>, <stroke> or <diabetes>: No", "nnn"),
        ("<Diabetes>? No. <Asthma>? Yes.", "np"),
        ("<Diabetes> | No\n<Asthma> | Yes", "np"),
        ("Condition | Yes | No\n<Gout> | x | \n<Epilepsy> | | x", "pn"),
        ("<Hypertension>      Yes\n<Hepatitis>       No", "pn"),
        ("<Diabetes>: [ ] Yes [x] No", "n"),
        ("<Diabetes>: Yes [ ] No [x]", "n"),
        ("<COPD>: unknown", "x"),
        ("Family History:\n<Diabetes>: No", "f"),
        ("<Asthma>: no recent exacerbations", "p"),
        ("<Diabetes>: None of her sugars were high", "p"),
        ("Agitation/<anxiety> - evaluation and management", "x"),
        ("Best-practice therapies (e.g. <DVT>, stress ulcer prophylaxis)", "x"),
    ],
)
def test_an_answer_of_a_form_decides_and_a_sentence_after_a_label_does_not(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No <angina>, prior <MI>, history of <stroke>, or <diabetes>.", "nnnn"),
        ("Negative for <angina>, previous <MI>, <stroke>.", "nnn"),
        ("Denies <asthma>, <COPD> or <gout>, and has a history of <hypertension>.", "nnnh"),
        ("Denies <asthma> and has <gout>.", "np"),
        ("<PNA> vs <CHF>", "xx"),
        ("No <pneumonia>, mild <CHF>.", "np"),
        ("No <pneumonia>, severe <CHF>, or <gout>.", "nnn"),
        ("She is no longer <septic>.", "h"),
        ("No <fever>, h/o <gout>.", "nh"),
        ("CT neg for <PE>, pos for <pneumonia>", "np"),
        ("The wound shows no <infection>, and the <diabetes> is stable.", "np"),
        ("No <pneumonia> or <PE> was identified.", "nn"),
        ("does not have any help at home for his <diabetes>", "p"),
        ("Return if your <asthma> gets worse.", "p"),
        ("no longer has <CHF>", "h"),
        ("septal <infarct> with negative deflections", "p"),
        ("<MRSA> swab negative.", "n"),
        ("<AKI> on <CKD>, now resolved.", "hp"),
        ("<Diabetes>, mother. <Colon cancer>, father at 70.", "ff"),
        ("Risks of anesthesia, bleeding, <MI>, <DVT>, and <PE> were discussed.", "xxx"),
        ("possible complications include <pneumonia>, <stroke> and <MI>", "xxx"),
        ("? <pneumonia>", "x"),
        ("<pneumonia>?", "x"),
        ("Suspect <pneumonia>", "x"),
        ("low probability V/Q scan for <PE>", "x"),
        ("<sepsis> r/o'd", "n"),
        ("FAMILY HISTORY: <CAD>. PHYSICAL EXAMINATION: <COPD>", "fp"),
        ("ALLERGIES: penicillin (<anaphylaxis>). He also has <asthma>", "xp"),
        ("Denies <asthma>, <COPD>, <stroke> or <gout>, but has <TIA>; however no <lupus>.", "nnnnpn"),
        ("Not only <asthma>. No change in <gout>. R/o <MI>. Neither <stroke> nor <TIA>.", "ppxnn"),
        ("1. <Gout>\n2. No <asthma>\n3. <COPD>", "pnp"),
    ],
)
def test_a_cue_reaches_as_far_as_its_clause_says(text: str, expected: str) -> None:
    check(text, expected)


def test_a_name_may_wrap_but_does_not_stretch_into_the_next_item() -> None:
    assert len(sentences("- chronic kidney\n- disease")) == 2
    assert len(sentences("asthma\nheart: failure")) == 2
    assert mark("Asthma: no", 0, 6) is not None and mark("Asthma attack", 0, 6) is None
