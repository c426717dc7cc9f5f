"""What an entry of eICU's lists says was found: the most specific step of a diagnosis path, in words that make sense alone.

The path leads from a category to a finding, and on to its kinds, causes and circumstances. Of the categories nothing is said, as
they are how the finding was looked up. Of a finding and its kind ("stroke", "hemorrhagic stroke") the kind is said. What cannot
stand alone ("aspiration", "Type II", "with cirrhosis") is told together with what it qualifies.
"""

import re
from collections.abc import Callable

import polars as pl

CATEGORIES = 2  # steps of a path that only say where it stands in the list
# Findings of which a later step may name the kind. Of other findings it names a cause, a complication or a treatment.
KINDS = frozenset(
    [
        "acute coronary syndrome",
        "acute renal failure",
        "anemia",
        "AV block",
        "bone tumors",
        "bradycardia",
        "brain tumor",
        "congestive heart failure",
        "dementia",
        "diarrhea",
        "diarrhea due to infection",
        "disorders of hemoglobin",
        "enteritis",
        "facial bone fracture",
        "GI obstruction / ileus",
        "hematological effect of infection",
        "hemorrhagic stroke",
        "hypertension",
        "interstitial lung disease",
        "ischemic stroke",
        "leukemia",
        "leukocytosis",
        "liver CA",
        "lymphoproliferative disease",
        "malignancy",
        "metabolic acidosis",
        "motor neuropathy",
        "myopathy",
        "neck tumor",
        "neuropathy",
        "pancreatic tumor",
        "pneumonia",
        "polycythemia",
        "seizures",
        "sepsis",
        "stroke",
        "thoracic tumor",
        "ventricular fibrillation",
        "viral hepatitis",
    ]
)
# A step that begins so is about the finding before it, whatever disease it names.
ABOUT = re.compile(
    r"(?i)(?:with|without|due|from|secondary|related|associated|of|for|to|in|on|after|post|not|no|s/p|r/o|likely|possible|probable|"
    r"suspected|initial|previous|cultures?|organism|lab|loss|transformation|primary hematologic)\b"
)
# ... and one that has none of these words names no disease.
NAMES = re.compile(
    r"(?i)(?:itis|osis|emia|oma|pathy|plegia|penia|philia|lysis|embolism|stroke|hemorrhage|infarction|ischemia|angina|block|"
    r"syndrome|disease|failure|necrosis|sepsis|ileus|obstruction|metastasis|metastatic to liver|hypertensive emergency/urgency|"
    r"epilepticus|pointes|sclerosis|gravis|fracture|\bCA|cor pulmonale|ketoacidosis/diabetic|bandemia|leukemoid reaction|"
    r"hepatitis [A-E]|obstruction of colon|cancer|brain tumor|lymphoma|myeloma|vera|hyperthermia)\b"
)
REPHRASED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        (r"unlikely cardiac in origin", "origin probably not cardiac"),  # or the finding itself reads as unlikely
        (r"^(.*)pneumonia: (?:hospital|healthcare)[- ]acquired \(not ventilator-associated\)", r"\1hospital-acquired pneumonia"),
        (r"^pneumonia: (aspiration|ventilator-associated|post-obstructive|opportunistic)\b", r"\1 pneumonia"),
        (r"^pneumonia: community-acquired: (bacterial|viral|fungal)\b", r"community-acquired \1 pneumonia"),
        (r"^pneumonia: community-acquired", "community-acquired pneumonia"),
        (r"^(\S+ pneumonia): (bacterial|viral|fungal)\b", r"\2 pneumonia, \1"),
        (r"^seizures: from Etoh withdrawal", "alcohol withdrawal seizures"),
        (r"^drug withdrawal syndrome: (\w+)", r"\1 withdrawal"),
        (r"^diabetes mellitus: (Type I{1,2})\b", r"diabetes mellitus \1"),
        (r"^(encephalopathy|meningitis|pancreatitis|cholecystitis): ([\w-]+)$", r"\2 \1"),
        (r"^congestive heart failure: (systolic|diastolic)\b", r"\1 congestive heart failure"),
        (r"^valvular (stenosis|insufficiency): (aortic|mitral|tricuspid|pulmonic|pulmonary)(?: valve)?", r"\2 valve \1"),
        (r"^cardiomyopathy: dilated: ischemic", "ischemic dilated cardiomyopathy"),
        (r"^cardiomyopathy: ([\w-]+)", r"\1 cardiomyopathy"),
        (r"^obesity: morbid", "morbid obesity"),
        (r"^hypertension: malignant", "malignant hypertension"),
        (r"^esophagitis: regurgitant", "reflux esophagitis"),
        (r"^peritonitis: spontaneous bacterial", "spontaneous bacterial peritonitis"),
        (r"^peptic ulcer disease: (duodenal|gastric)", r"\1 ulcer"),
        (r"^toxic hepatitis: alcohol related", "alcoholic hepatitis"),
        (r"^hepatic dysfunction: with cirrhosis: alcoholic", "hepatic dysfunction with alcoholic cirrhosis"),
        (r"^leukemia: ((?:acute|chronic) \w+)", r"\1 leukemia"),
        (r"^thrombocytopenia: heparin-induced", "heparin-induced thrombocytopenia"),
        (r"^aortic aneurysm: (abdominal|thoracic)", r"\1 aortic aneurysm"),
        (r"^ketoacidosis/diabetic", "diabetic ketoacidosis"),
        (r"^CA metastatic to liver", "metastatic cancer in the liver"),
        (r"^primary lung cancer: adenocarcinoma", "adenocarcinoma of the lung"),
        (r"^primary lung cancer: (small|squamous) cell CA", r"\1 cell carcinoma of the lung"),
        (r"^s/p surgery for cancer: (\w+)", r"s/p surgery for \1 cancer"),
        (r"^sepsis with (?=single organ|multi-organ)", "sepsis: with "),
        (r"^ESRD \(end stage renal disease\)", "end stage renal disease"),
        (r"^signs and symptoms of sepsis \(SIRS\)", "SIRS"),
        (r"^melanoma: (\w+)", r"\1 melanoma"),
    )
)  # fmt: skip
# Names that the admission form has turned round so that they sort by the noun.
TURNED = re.compile(
    r"^(Aneurysm|Angina|Arrest|Bleeding|Cancer|Edema|Effusions?|Embolus|Encephalopathy|Hematoma|Hemorrhage/hematoma|"
    r"Hepatic failure|Infarction|Leukemia|Lymphoma|Neoplasm|Pneumonia|Renal failure|Shock|Tamponade|Thrombosis|Thrombus)"
    r"(?:, ?|-|(?= subdural| epidural))\s*(?! ?(?:other|unknown|surgery))([A-Za-z/' -]+?)(?= \(|[,;]|$)"
)
ADMITTED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        (r"^Infarction, acute myocardial \(MI\)", "acute myocardial infarction"),
        (r"^Bleeding, GI-location unknown", "GI bleeding, location unknown"),
        (r"^Bleeding, GI from", "GI bleeding from"),
        (r"^Thrombosis, vascular \(deep vein\)", "deep vein thrombosis"),
        (r"^Cancer-colon/rectal", "colorectal cancer"),
        (r"^Neoplasm[-,] ?(?:cranial|neurologic)", "brain neoplasm"),
        (r"^Heat exhaustion/stroke", "Heat exhaustion/heat stroke"),
        (r"^CVA, cerebrovascular accident/stroke", "cerebrovascular accident"),
        (r"^CHF, congestive heart failure", "congestive heart failure"),
        (r"^Pre-eclampsia/eclampsia", "preeclampsia or eclampsia"),
        (r"^Seizures \(primary-no structural brain disease\)", "Seizures (primary)"),
    )
)  # fmt: skip


def diagnosis(path: str) -> str | None:
    """The finding that a path of ``diagnosis`` names; None if it names nothing.

    >>> diagnosis("neurologic|disorders of vasculature|stroke|hemorrhagic stroke|subarachnoid hemorrhage|with hydrocephalus")
    'subarachnoid hemorrhage: with hydrocephalus'
    >>> diagnosis("pulmonary|pulmonary infections|pneumonia|aspiration"), diagnosis("endocrine|DKA")
    ('aspiration pneumonia', 'DKA')
    """
    steps = [step.strip() for step in path.split("|") if step.strip()]
    steps = list(dict.fromkeys(steps[min(CATEGORIES, max(len(steps) - 1, 0)) :]))
    while len(steps) > 1 and steps[0] in KINDS and names(steps[1]):
        del steps[0]
    line = ": ".join(steps)
    for pattern, said in REPHRASED:
        line = pattern.sub(said, line)
    return line or None


def names(step: str) -> bool:
    """Whether a step names a disease by itself.

    >>> names("ischemic stroke"), names("with hydrocephalus"), names("left sided"), names("bacterial")
    (True, False, False, False)
    """
    return NAMES.search(step) is not None and ABOUT.match(step) is None


def admission(name: str) -> str:
    """A name of the form of admission diagnoses with its words in their usual order.

    >>> admission("Renal failure, acute"), admission("Bleeding-upper GI, surgery for"), admission("Sepsis, pulmonary")
    ('acute renal failure', 'upper GI bleeding, surgery for', 'Sepsis, pulmonary')
    """
    for pattern, said in ADMITTED:
        name, changed = pattern.subn(said, name)
        if changed:
            return name
    return TURNED.sub(lambda match: f"{match[2].strip()} {match[1].lower()}", name)


def each(column: pl.Expr, say: Callable[[str], str | None]) -> pl.Expr:
    """``say`` of every text in the column, asked once for each of the texts that there are."""

    def told(texts: pl.Series) -> pl.Series:
        known = {text: say(text) for text in texts.unique().drop_nulls().to_list()}
        return texts.replace_strict(known, default=None, return_dtype=pl.String)

    return column.map_batches(told, return_dtype=pl.String)
