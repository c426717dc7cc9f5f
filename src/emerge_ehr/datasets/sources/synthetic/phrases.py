"""What the notes of the default site are made of: sentences with a disease, and sentences that carry the risk part N."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emerge_ehr.datasets.sources.synthetic.surface_forms import SURFACE_FORMS

# Three sentences about a robust patient, and three about a frail one
Domain = tuple[tuple[str, str, str], tuple[str, str, str]]


@dataclass(frozen=True)
class Phrases:
    """A site's wording; ``{}`` stands for a disease, which each sentence gives the same status for any of its names.

    ``plain``: how often a disease is called by the first of its ``forms`` rather than by one of the others. ``history`` and
    ``diagnoses`` begin lists of diseases; ``alive`` and ``expired`` tell the outcome. ``headers``: those of long notes.
    """

    wording: Sequence[Domain]
    reasons: Sequence[str]
    asserted: Sequence[str]
    negated: Sequence[str]
    family: Sequence[str]
    hypothetical: Sequence[str]
    routine: Sequence[str]
    radiology: Sequence[str]
    unchanged: str
    history: str
    diagnoses: str
    alive: str
    expired: str
    forms: Mapping[str, Sequence[str]]
    plain: float
    headers: Mapping[str, str]


# No word in these sentences names a disease.
WORDING: tuple[Domain, ...] = (
    (
        ("Walks independently in the hallway.", "Walks with steady gait.", "Out of bed and walks without assistance."),
        ("Unable to get out of bed.", "Bedbound, unable to stand.", "Remains bedbound, total assist."),
    ),
    (
        ("Good appetite, finished breakfast.", "Eating well, good appetite.", "Finished all meals, good appetite."),
        ("Refuses food, takes only sips.", "Takes sips only, refuses meals.", "Refuses trays, poor oral intake."),
    ),
    (
        ("Jokes with staff.", "Cheerful, jokes with visitors.", "Cheerful and chatting with staff."),
        ("Withdrawn, barely speaks.", "Withdrawn and listless.", "Listless, barely speaks."),
    ),
    (
        ("Well nourished.", "Well nourished, muscular build.", "Muscular build, well developed."),
        ("Cachectic appearance.", "Cachectic with temporal wasting.", "Frail, temporal wasting."),
    ),
    (
        ("Family discussing plans for home.", "Plans for home with family.", "Discharge home planned with family."),
        (
            "Family meeting about goals of care.",
            "Goals of care discussed with relatives.",
            "Goals of care meeting arranged.",
        ),
    ),
    (
        ("Strong hand grip.", "Strong cough and grip.", "Grip strong on both sides."),
        ("Feeble hand grip.", "Feeble effort, cannot lift arms.", "Cannot lift arms off the mattress."),
    ),
    (
        ("Slept soundly overnight.", "Slept well, rested.", "Rested, slept soundly."),
        ("Moaning overnight.", "Restless and moaning.", "Moaning with each turn."),
    ),
    (
        ("Skin warm and intact.", "Skin intact.", "Skin warm, intact on rounds."),
        ("Sacral breakdown noted.", "Skin mottled, sacral breakdown.", "Mottled knees."),
    ),
    (
        ("Used incentive spirometer often.", "Uses incentive spirometer by himself.", "Incentive spirometer hourly."),
        ("Needs frequent suctioning.", "Frequent suctioning, pooled secretions.", "Pooled secretions."),
    ),
    (
        ("Lives alone, drives.", "Still drives and works part-time.", "Works part-time, lives alone."),
        ("Nursing home resident.", "Dependent nursing home resident.", "Dependent for all activities."),
    ),
    (
        (
            "Physical therapy cleared stairs.",
            "Climbed stairs with therapy.",
            "Therapy session tolerated, climbed stairs.",
        ),
        ("Therapy deferred, too weak.", "Too weak for therapy.", "Therapy session deferred."),
    ),
    (
        ("Asks to go home.", "Eager, asks about going home.", "Eager to leave."),
        ("Chaplain visited at bedside.", "Chaplain and palliative team visited.", "Palliative team consulted."),
    ),
)
PHRASES = Phrases(
    wording=WORDING,
    reasons=("Transferred from the ward.", "Brought in by ambulance.", "Admitted from the emergency department."),
    asserted=("{} on treatment.", "Known {}.", "Patient has {}.", "Assessment: {}, continue current therapy."),
    negated=("No evidence of {}.", "Denies history of {}.", "Negative for {}.", "No signs of {}."),
    family=("Family history: mother with {}.", "Family history: father had {}.", "Family history of {} in a brother."),
    hypothetical=("At risk for {}.", "Will evaluate for possible {} if needed.", "Return if symptoms of {} develop."),
    routine=(
        "Lines in place.",
        "Labs drawn.",
        "Medications reviewed.",
        "Repositioned as scheduled.",
        "Call light in reach.",
    ),
    radiology=(
        "Portable film. Lines in standard position.",
        "Film obtained. No acute change.",
        "Study limited by motion.",
    ),
    unchanged="Plan unchanged.",
    history="Past medical history",
    diagnoses="Discharge diagnoses",
    alive="Discharged alive in stable condition.",
    expired="Patient expired in the hospital.",
    forms=SURFACE_FORMS,
    plain=0.5,
    headers={
        "reason": "CHIEF COMPLAINT",
        "present": "HISTORY OF PRESENT ILLNESS",
        "events": "INTERVAL EVENTS",
        "care": "FUNCTIONAL STATUS AND NURSING",
        "review": "REVIEW OF SYSTEMS",
        "medications": "MEDICATIONS ON ADMISSION",
        "current": "CURRENT MEDICATIONS",
        "vitals": "VITAL SIGNS AND LINES",
        "exam": "PHYSICAL EXAMINATION",
        "labs": "LABORATORY DATA",
        "imaging": "IMAGING",
        "plan": "ASSESSMENT AND PLAN",
        "course": "HOSPITAL COURSE",
        "copied": "COPIED FORWARD FROM THE NOTE OF",
        "signed": "ATTESTATION",
    },
)
