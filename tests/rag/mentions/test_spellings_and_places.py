"""The status of mentions by headers without a colon, other people, dates, signs in lists, and the many spellings of the cues."""

import pytest

from tests.rag.mentions.test_context import check


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Family History\n<Diabetes>, CAD", "f"),
        ("FAMILY HISTORY\n\n<Diabetes>\n<CAD>", "ff"),
        ("Family History\r\n<Diabetes>, <CAD>\r\nSocial History\r\n<EtOH abuse>\r\nAssessment\r\n<CHF>", "ffpp"),
        ("Past medical history\n<COPD>\n<Gout>\nPhysical Exam\n<AF>", "hhp"),
        ("Allergies\nPenicillin (<anaphylaxis>)\n\nImpression\n<CHF>", "xp"),
        ("Risks\nbleeding, <stroke>\n<MI>, <DVT>\n\nPlan\ntreat <CHF>", "xxxp"),
        ("Pertinent Negatives\n<DVT>\n<PE>\n\n<CHF>", "nnp"),
        ("Differential Diagnosis\n<PE>\n<pneumonia>", "xx"),
        ("Allergies:\n\nMedications:\naspirin for <CAD>", "p"),
        ("Social History\n<EtOH abuse>, lives alone", "p"),
        ("She was told about a strong\nfamily history\nof cancer in others. She was admitted for\n<CHF>.", "p"),
    ],
)
def test_a_header_may_fill_its_line_without_a_colon(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Family History:\n<Diabetes>\n\n<Hypertension> in both parents", "ff"),
        ("MGM: <CVA>, PGF: <MI>", "ff"),
        ("bro: <CAD>; dtr has <lupus>; mat. aunt: <breast cancer>", "fff"),
        ("Neuro: DTR 2+, <neuropathy>", "p"),
        ("warfarin 5 mgm for <AF>", "p"),
        ("<Lupus> in several family members", "f"),
        ("<colon cancer> on his mother's side", "f"),
        ("<stroke> in one of his older brothers", "f"),
        ("Maternal <diabetes>", "f"),
        ("Roommate with <influenza>.", "f"),
        ("The <pneumonia> that his wife had", "f"),
        ("He asked about the <stroke> which her mother had.", "f"),
        ("He fears the <cancer> that killed his father.", "f"),
        ("Denies hx of <stroke>, <TIA>, has <migraine> and <epilepsy> in sister.", "nnpf"),
        ("<migraine> and <epilepsy> in sister", "ff"),
        ("Per his wife, <dementia> at baseline", "p"),
    ],
)
def test_a_disease_is_that_of_the_person_who_is_named_with_it(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<Rheumatic fever> as child -> <MR>", "hp"),
        ("<rheumatic fever> as a teenager", "h"),
        ("He had a <stroke> last year", "h"),
        ("<MI> in 2010, <CVA> 3/2015", "hh"),
        ("<TB> treated in 1990", "h"),
        ("<MI> x2 (2010, 2012)", "h"),
        ("<CVA> '15", "h"),
        ("<MI> in [**2145**]", "h"),
        ("childhood <asthma>", "h"),
        ("In 2012, he had a <stroke>", "h"),
        ("Two years ago she had a <DVT>", "h"),
        ("<DM> since 2010", "p"),
        ("no <MI> in 2010", "n"),
        ("<pneumonia> 2012-03-01", "p"),
        ("<ascites> 2000 mL removed", "p"),
        ("TTE in 2015 showed <AS>", "p"),
    ],
)
def test_what_is_dated_or_of_childhood_is_past(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<Diabetes> (-) <Hypertension> (+) <CAD> (-) <Stroke> (+)", "npnp"),
        ("Fever (-) <Diabetes> (-) chills (-) <CAD> (+)", "np"),
        ("(-) <Diabetes> (+) <CAD> (-) <Stroke>", "npn"),
        ("<DM> - <HTN> + <CAD> -", "npn"),
        ("<PE> neg <DVT> pos", "np"),
        ("<flu> negative <COVID-19> positive <RSV> negative", "npn"),
        ("CT neg <PE>, pos <pneumonia>", "np"),
        ("<PE> -ve <DVT> +ve", "np"),
        ("-ve <PE>. <DVT>: -ve. <MI> (+ve)", "nnp"),
        ("ROS: -CP, -SOB, +orthopnea, -hx <DVT>, +leg swelling.", "n"),
        ("- hx of <DVT>\n- h/o <gout>", "hh"),
    ],
)
def test_a_sign_belongs_to_the_item_before_it_where_the_list_says_so(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<HIV> Ab: nonreactive", "n"),
        ("<Hep C> Ab non-reactive", "n"),
        ("<HBV> immune, <syphilis> NR", "nn"),
        ("<AS> none, <MR> mild", "np"),
        ("nil <pneumonia>", "n"),
        ("He hasn’t had a <stroke>.", "n"),
        ("hasn't any <diabetes>", "n"),
        ("didn't have <diabetes> or <COPD>", "nn"),
        ("This isn't <pneumonia>.", "n"),
        ("It doesn't look like <cellulitis>.", "n"),
        ("<pneumonia> wasn't seen", "n"),
        ("<stroke> hasn't been found", "n"),
        ("excluding <PE>", "n"),
        ("<immune thrombocytopenia> on steroids", "p"),
    ],
)
def test_words_for_no_are_read_in_any_spelling(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<stroke> r/o", "x"),
        ("cardiovascular|chest pain|<myocardial ischemia>|r/o", "x"),
        ("<CHF>, r/o <PE>", "px"),
        ("<PE> r/o'd by CTA, <DVT> r/o'd by duplex, <pneumonia> not r/o'd.", "nnx"),
        ("<pneumonia> not yet ruled out, <PE> isn't excluded", "xx"),
        ("<PE> couldn't be excluded", "x"),
        ("less likely <PE> or <pneumonia>", "xx"),
        ("<PE> is less likely", "n"),
        ("likely <CHF>, less likely <PE>", "px"),
        ("low prob for <PE>. <DVT> low probability", "xx"),
        ("<ACS> was considered but troponins flat; <MI> r/o'd.", "xn"),
        ("<diabetes> is considered well controlled", "p"),
        ("?<UTI> ?<PNA>  possible <sepsis>", "xxx"),
        ("<pneumonia>, possible <sepsis>", "px"),
        ("<CHF> possibly contributing", "x"),
        ("In the event of <cardiac arrest> / <stroke>", "xx"),
        ("ALL: PCN (<anaphylaxis>)", "x"),
        ("HCP is son. All: sulfa (<anaphylaxis>)\n\n<CHF>", "xp"),
        ("all contrast was stopped for <AKI>", "p"),
        ("allergic to PCN (<anaphylaxis>)", "x"),
        ("Encounter for immunization against <influenza>", "x"),
        ("<TB> exposure, exposed to <COVID-19>", "xx"),
        ("<DVT> prophylaxis for <AF>", "xp"),
    ],
)
def test_what_is_only_thought_of_is_hypothetical(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1) <PNA> 2) r/o <sepsis> 3) hx of <gout>", "pxh"),
        ("a) no <PE> b) <CHF>", "np"),
        ("(1) <PNA> (2) no <sepsis> (3) <gout>", "pnp"),
        ("#1 <PNA> #2 no <sepsis> #3 <gout>", "pnp"),
        ("no <CHF> (class 2) or <PE>", "nn"),
    ],
)
def test_items_that_are_numbered_on_one_line_are_sentences(text: str, expected: str) -> None:
    check(text, expected)
