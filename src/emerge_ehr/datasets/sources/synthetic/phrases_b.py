"""What the notes of site "b" are made of: shorter and abbreviated, and other names for the same diseases."""

from emerge_ehr.datasets.sources.synthetic.phrases import Domain, Phrases
from emerge_ehr.datasets.sources.synthetic.surface_forms import SURFACE_FORMS

# The same domains in the same order as the default site's. In the first six some of the words are the same, in the others none.
WORDING: tuple[Domain, ...] = (
    (
        ("Walks unaided to bathroom.", "Walks w/o device.", "Steady gait, indep."),
        ("Bedbound x days.", "Unable to stand, max assist x2.", "Total assist, bedbound."),
    ),
    (
        ("Finished dinner, asks for more.", "Eating full portions.", "Good appetite per RN."),
        ("Refuses PO.", "Sips only per RN.", "Poor intake, refuses trays."),
    ),
    (
        ("Cheerful on rounds.", "Jokes w/ team.", "Chatting, cheerful."),
        ("Listless, flat.", "Withdrawn, no eye contact.", "Barely speaks to team."),
    ),
    (
        ("Nourished, fit.", "Muscular.", "Developed, nourished, fit."),
        ("Cachectic.", "Wasting of temples.", "Frail, wasting."),
    ),
    (
        ("Plans for home by spouse.", "D/c home planned.", "Planning home services."),
        ("GOC mtg w/ relatives.", "GOC discussed.", "Mtg re GOC arranged."),
    ),
    (
        ("Grip 5/5 B/L.", "Strong cough, grip 5/5.", "Full strength B/L."),
        ("Grip feeble B/L.", "Feeble, 2/5 B/L.", "Cannot lift arms, 2/5."),
    ),
    (
        ("Good noc, no complaints.", "Comfortable noc.", "Quiet, comfortable noc."),
        ("Groaning overnoc.", "Calling out, groaning.", "Agitated overnoc."),
    ),
    (
        ("Integument WNL.", "No pressure areas.", "Heels and sacrum WNL."),
        ("Stage 3 pressure areas.", "Lacy discoloration of legs.", "Stage 3 sacrum, packed."),
    ),
    (
        ("IS to 2000.", "IS q1h indep.", "Clears airway indep."),
        ("NT sxn q2h.", "Sxn for copious thick sputum.", "Copious thick sputum."),
    ),
    (
        ("Employed full time.", "Active, gardens daily.", "Indep ADLs, employed."),
        ("Resides in LTC.", "LTC resident, all ADLs by staff.", "Needs LTC staff for ADLs."),
    ),
    (
        ("PT: amb 200 m.", "PT: 2 flights done.", "PT signed off."),
        ("PT on hold.", "PT: unable to participate.", "PT hold, not able to participate."),
    ),
    (
        ("Motivated, wants discharge.", "Motivated, looking forward.", "Wants discharge soon."),
        ("Pastoral care called.", "Pastoral care sat with spouse.", "Comfort consult called."),
    ),
)

# name in the graph -> forms that the default site does not use; of the other diseases it is the same forms
FORMS: dict[str, tuple[str, ...]] = {
    "acute myocardial infarction": ("acute myocardial infarction", "STEMI", "NSTEMI", "acute MI"),
    "ventricular tachycardia": ("ventricular tachycardia", "VTach", "NSVT"),
    "third-degree atrioventricular block": (
        "third-degree atrioventricular block",
        "third degree heart block",
        "third degree AV block",
    ),
    "peptic ulcer disease": ("peptic ulcer disease", "duodenal ulcer", "gastric ulcer"),
    "esophageal varices": ("esophageal varices", "variceal bleeding", "variceal hemorrhage"),
    "pyelonephritis": ("pyelonephritis", "pyelo"),
    "peritonitis": ("peritonitis", "spontaneous bacterial peritonitis"),
    "Clostridium difficile colitis": (
        "Clostridium difficile colitis",
        "CDAD",
        "C. difficile infection",
        "pseudomembranous colitis",
    ),
    "pneumothorax (disease)": ("pneumothorax", "tension pneumothorax"),
    "bacterial infectious disease with sepsis": (
        "bacterial infectious disease with sepsis",
        "septicaemia",
        "urosepsis",
        "severe sepsis",
    ),
    "congestive heart failure": ("congestive heart failure", "HFrEF", "congestive cardiac failure"),
    "chronic obstructive pulmonary disease": (
        "chronic obstructive pulmonary disease",
        "COAD",
        "chronic obstructive airway disease",
    ),
    "acute kidney failure": ("acute kidney failure", "ARF", "ATN", "acute renal insufficiency"),
    "atrial fibrillation (disease)": ("atrial fibrillation", "PAF", "atrial fib"),
    "urinary tract infection (disease)": ("urinary tract infection", "urinary infection", "bladder infection"),
    "pneumonia": ("pneumonia", "HCAP", "community acquired pneumonia"),
    "chronic kidney disease": ("chronic kidney disease", "CRF", "ESRD", "chronic renal failure"),
    "type 2 diabetes mellitus": ("type 2 diabetes mellitus", "NIDDM", "T2D", "DM type 2"),
    "stroke disorder": ("stroke disorder", "ischemic stroke", "cerebral infarct"),
    "intracerebral hemorrhage": ("intracerebral hemorrhage", "IPH", "cerebral bleed", "cerebral hemorrhage"),
    "hepatic encephalopathy": ("hepatic encephalopathy", "portal systemic encephalopathy", "hepatic coma"),
    "alcoholic hepatitis": ("alcoholic hepatitis", "EtOH hepatitis"),
    "gout": ("gout", "gout flare", "gouty flare"),
    "Crohn disease": ("Crohn disease", "Crohn colitis", "Crohns disease"),
    "pulmonary hypertension": ("pulmonary hypertension", "PAH", "pulmonary HTN"),
    "coronary artery disease": ("coronary artery disease", "ASHD", "coronary atherosclerosis", "3VD"),
    "gastroesophageal reflux disease": ("gastroesophageal reflux disease", "GORD", "reflux disease"),
}
PHRASES = Phrases(
    wording=WORDING,
    reasons=("Tx from floor.", "BIBA.", "Adm via ED."),
    asserted=("{}, cont current tx.", "Pt w/ {}.", "Pt has {}.", "# {} - as per plan."),
    negated=("No e/o {}.", "Pt denies {}.", "Neg for {}.", "W/o signs of {}."),
    family=("FHx: mother with {}.", "FHx: {} in father.", "FHx of {} in a sister."),
    hypothetical=("Risk of {}.", "Monitor for {}.", "R/o {}."),
    routine=("Lines ok.", "Labs sent.", "Meds reviewed.", "Turned q2h.", "Bell in reach."),
    radiology=("AP film. Lines ok.", "Film done, unchanged.", "Limited by motion."),
    unchanged="Plan as before.",
    history="PMH",
    diagnoses="Discharge Dx",
    alive="D/c'd alive in stable condition.",
    expired="Pt expired in hospital.",
    forms={**SURFACE_FORMS, **FORMS},
    plain=0.2,
    headers={
        "reason": "CC",
        "present": "HPI",
        "events": "EVENTS",
        "care": "RN REPORT",
        "review": "ROS",
        "medications": "HOME MEDS",
        "current": "SCHEDULED MEDS",
        "vitals": "LINES AND TUBES",
        "exam": "EXAM",
        "labs": "LABS",
        "imaging": "IMAGING",
        "plan": "A/P",
        "course": "COURSE",
        "copied": "PRIOR NOTE",
        "signed": "SIGNED",
    },
)
