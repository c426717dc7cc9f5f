"""The cues, words that decide the status of a mention: a table after NegEx, ConText and the abbreviations of clinical notes.

Each row holds a cue (the status it gives, which mentions it governs, and how far) and its phrases, which are compared in folded
form, so that ``h/o`` is ``h o``.

- Direction ``forward``: the cue governs mentions after it in the sentence; ``backward``: those before it; ``both``: a mention
  right before it or, if there is none, those after it; ``turn``: it ends the effect of the cues before it; ``nothing``: it only
  keeps a shorter cue within it from being read.
- Reach ``list``: to the end of the sentence; ``comma``: to the next comma; ``next``: the first mention, if no comma comes
  before it; ``touching``: a mention right beside the cue.
"""

from dataclasses import dataclass
from typing import Literal

from emerge_ehr.rag.entities import Status
from emerge_ehr.rag.mentions.folding import pattern

Direction = Literal["forward", "backward", "both", "turn", "nothing"]
Reach = Literal["list", "comma", "next", "touching"]
# What a turn ends. all: every cue's effect; cause: that of negated and hypothetical cues; after comma: every cue's, if a comma
# stands before the turn; family: that of family cues.
Turn = Literal["all", "cause", "after comma", "family"]

RELATIVES = (
    "mother father mom dad parents parent brother brothers sister sisters sibling siblings aunt aunts uncle uncles "
)
RELATIVES += "cousin cousins son sons daughter daughters grandmother grandfather grandparents wife husband spouse child children "
RELATIVES += "niece nephew twin"
OWN = ("", "his ", "her ", "the ", "their ", "a ", "patient ", "pt ")
REPORTS = [
    "reports",
    "reported",
    "states",
    "stated",
    "says",
    "said",
    "notes",
    "noted",
    "noticed",
    "found",
    "called",
    "denies",
    "brought",
    "at",
    "is",
    "bedside",
]
LED_BY: tuple[str, ...] = (
    "per",
    "lives with",
    "living with",
    "brought in by",
    "accompanied by",
    "with help from",
    "according to",
    "discussed with",
)
LED_BY += ("spoke with", "history from", "contacted", "cared for by", "met with")


@dataclass(frozen=True, slots=True)
class Cue:
    """``status`` is that of the mentions it governs; None for directions ``turn`` and ``nothing``.

    ``section``: as a header, the cue governs its section.
    """

    direction: Direction
    status: Status | None = None
    reach: Reach = "list"
    turn: Turn = "all"
    section: bool = False


TABLE: tuple[tuple[Cue, str], ...] = (
    (
        Cue("forward", "negated"),
        "no|denies|denied|denying|without|w/o|negative for|neg for|absence of|never had|never been diagnosed with|"
        "free of|"
        "ruled out for|rules out|neither|nor|no evidence of|no signs of|no sign of|does not have|did not have|"
        "do not have|not have|"
        "doesn't have|has not had|had not had|has never had|no history of|no hx of|no h/o|without evidence of|"
        "without history of|"
        "low suspicion for|low concern for|low likelihood of|doubt|no concern for|not concerning for|"
        "not consistent with|unlikely to be|"
        "unlikely to represent|unlikely to have|not suggestive of|not diagnostic of|declines|fails to show|"
        "failed to show|"
        "did not show|does not show|did not reveal|no prior diagnosis of|no known",
    ),
    (Cue("forward", "negated", "comma"), "not"),
    (
        Cue("both", "negated", "comma"),
        "ruled out|negative|neg|absent|excluded|unlikely|was ruled out|were ruled out|is ruled out|been ruled out|"
        "was excluded|"
        "were excluded|has been excluded|was negative|were negative",
    ),
    (
        Cue("backward", "negated"),
        "not seen|not identified|not present|not detected|not found|not demonstrated|not visualized|not appreciated|"
        "not noted|"
        "was not seen|were not seen|is not seen|less likely|felt to be unlikely|thought unlikely|"
        "thought to be unlikely|very unlikely|"
        "not likely|not supported",
    ),
    (
        Cue("forward", "family", section=True),
        "family history|family hx|family medical history|fh|fhx|fam hx",
    ),
    (Cue("both", "family", "list"), "|".join(RELATIVES.split())),
    (
        Cue("backward", "family"),
        "|".join(f"in {own}{who}" for own in OWN for who in (*RELATIVES.split(), "family"))
        + "|runs in the family|runs in his family|runs in her family|in the family",
    ),
    (
        Cue("forward", "hypothetical"),
        "if|should he|should she|should they|should the patient|should you|rule out|r/o|to rule out|ro|risk of|"
        "risk for|at risk|"
        "at risk for|at risk of|risk factors for|concern for|concerning for|concerned for|concerned about|c/f|"
        "evaluate for|"
        "evaluated for|evaluating for|evaluation for|evaluation of possible|eval for|assess for|assessed for|"
        "assessment for|work up for|"
        "workup for|worked up for|monitor for|monitored for|monitoring for|watch for|watching for|look for|return if|"
        "return for|"
        "prevent|prevention|prevention of|preventing|screen for|screened for|screening for|to exclude|exclude|"
        "in case of|"
        "possibility of|questionable|question of|cannot exclude|cannot rule out|can't exclude|can't rule out|"
        "can not exclude|"
        "can not rule out|could not exclude|could not rule out|unable to exclude|unable to rule out|not exclude|"
        "not rule out|"
        "suspicious for|suspicion for|suspicion of|high suspicion for|not clear whether|unclear whether|not clear if|"
        "unclear if|"
        "not certain if|not certain whether|whether|may have|might have|may represent|might represent|"
        "could represent|could be|"
        "may be|differential includes|differential diagnosis|differential diagnosis includes|differential|ddx|"
        "ddx includes|"
        "carrier of|carrier for|fear of|fears|worried about|worry about|susceptible to|susceptibility to|"
        "predisposition to|"
        "predisposed to|would be at risk for|test for|testing for|tested for|vaccine against|vaccinated against|"
        "call if|call your doctor if|signs of|symptoms of|symptoms concerning for",
    ),
    (
        Cue("both", "hypothetical", "comma"),
        "suspected|possible|possibly|prophylaxis|ppx|precautions|is suspected|was suspected|is possible|prophylactic",
    ),
    (
        Cue("backward", "hypothetical"),
        "cannot be excluded|cannot be ruled out|could not be excluded|could not be ruled out|can not be excluded|"
        "not excluded|"
        "can't be excluded|not ruled out|not be ruled out|not be excluded|was not ruled out|was not excluded|"
        "has not been ruled out|"
        "not been excluded|is a possibility|remains possible|is a consideration|in the differential|to be ruled out|"
        "is in question",
    ),
    (
        Cue("backward", "hypothetical", "touching"),
        "vaccine|vaccines|vaccination|immunization|screening|screen|test|tests|testing|clinic|rule out|work up|"
        "workup|serologies|"
        "serology|serum antibody|antibody|antibodies|risk|risk factors|carrier|support group|education|protocol|r/o",
    ),
    (Cue("both", "hypothetical", "touching"), "vs|versus"),
    (
        Cue("forward", "historical"),
        "history of|history significant for|history notable for|history includes|h/o|hx of|hx|past history|"
        "past history of|"
        "medical history|medical history of|with a history of|remote history of|personal history of|"
        "personal history of other",
    ),
    (
        Cue("forward", "historical", section=True),
        "past medical history|past medical history of|pmh|pmhx|pmhx of|past surgical history|psh|pshx|"
        "past medical and surgical history|"
        "past medical hx|past psychiatric history|prior medical history|medical history",
    ),
    (
        Cue("forward", "historical", "next"),
        "s/p|status post|previous|previously|prior|remote|former|old|previously diagnosed with|past|"
        "previously treated|formerly",
    ),
    (
        Cue("backward", "historical"),
        "in the past|as a child|in childhood|years ago|in his youth|in her youth|has resolved|have resolved|"
        "now resolved|resolved|"
        "months ago|was resolved|since resolved",
    ),
    (
        Cue("forward", "hypothetical", section=True),
        "allergies|allergies and adverse reactions|adverse reactions|drug allergies",
    ),
    (
        Cue("turn"),
        "but|however|although|though|except|except for|aside from|apart from|other than|yet|now with|now has|"
        "present with|presents with|"
        "presenting with|presented with|p/w|present for|presents for|presented for|who presents|who presented|"
        "found to have|here with|"
        "here for|admitted with|admitted for|while|whereas|nevertheless|rather|"
        "positive for|tested positive for|is positive for|and she|and he|and now|and patient takes|admitted w/|instead",
    ),
    (
        Cue("turn", turn="cause"),
        "due to|secondary to|because of|given|in the setting of|in light of|in setting of|attributed to|caused by|"
        "d/t|2/2|for which|"
        "treated for|treated with|diagnosed with|was diagnosed with|is diagnosed with|on treatment for|"
        "consistent with|most consistent with",
    ),
    (
        Cue("turn", turn="after comma"),
        "has|had|have|known|admitted|presents|presented|does have|now|s/p|started|started on|treated|likely|found",
    ),
    (
        Cue("turn", turn="family"),
        "patient|pt|the patient|patient has|pt has|he himself|she herself|himself|herself|he has|she has",
    ),
    (
        Cue("nothing"),
        "no change|no changes|no change in|no increase|no increase in|no significant change|no significant change in|"
        "no further|"
        "no interval change|no interval change in|no improvement|no improvement in|no relief|no longer|"
        "no longer requires|"
        "not only|not on|not taking|not a candidate|not a candidate for|not well|not compliant|not suicidal|"
        "not known whether|"
        "no worsening|no worsening of|no progression|no progression of|no signs of progression|no complaints|"
        "no acute distress|"
        "gram negative|gram neg|hiv negative man|without difficulty|without contrast|without complication|"
        "without complications|"
        "without issue|without issues|without incident|without assistance|without aura|without help|"
        "no evidence of progression|"
        "history of present illness|history of the present illness|history present illness|social history|"
        "history and physical|"
        "prior to|past due|old records|year old|years old|yr old|yo|y/o|month old|week old|day old|old man|old woman|"
        "risk score|at no risk|signs of progression|symptoms of his|if needed|if indicated|prior authorization|"
        "child's pugh|child pugh|child class|possible side effects|non suspected|no doubt|without doubt|"
        + "|".join(f"{led} {own}{who}" for led in LED_BY for own in OWN for who in RELATIVES.split())
        + "|"
        + "|".join(
            f"{who} {verb}" for who in RELATIVES.split() for verb in REPORTS if verb not in ("noted", "found", "is")
        ),
    ),
)


def phrases() -> dict[str, Cue]:
    """Folded phrase -> cue. Where two rows hold the same phrase the first row wins, unless the other is a section's."""
    cues: dict[str, Cue] = {}
    for cue, listed in TABLE:
        for phrase in listed.split("|"):
            key = pattern(phrase)
            if key not in cues or cue.section:
                cues[key] = cue
    return cues
