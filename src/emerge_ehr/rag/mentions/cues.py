"""The cues, words that decide the status of a mention: a table after NegEx, ConText and the abbreviations of clinical notes.

Each row holds a cue (the status it gives, which mentions it governs, and how far) and its phrases, which are compared in folded
form, so that ``h/o`` is ``h o``.

- Direction ``forward``: the cue governs mentions after it in the sentence; ``backward``: those before it; ``both``: a mention
  right before it or, if there is none, those after it; ``turn``: it ends the effect of the cues before it; ``nothing``: it only
  keeps a shorter cue within it from being read.
- Reach ``list``: to the end of the sentence; ``comma``: to the next comma; ``next``: the first mention, if no comma comes
  before it; ``touching``: a mention right beside the cue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from emerge_ehr.rag.entities import Status
from emerge_ehr.rag.mentions.cue_words import ALLERGENS, CHANCES, LOW, PAST, PREVENTED, UNCERTAIN, YEARS, spellings
from emerge_ehr.rag.mentions.folding import pattern
from emerge_ehr.rag.mentions.relatives import IN_FAMILY, OTHERS, RELATIVES, SUFFER, TELLING, THEIRS

Direction = Literal["forward", "backward", "both", "turn", "nothing"]
Reach = Literal["list", "comma", "next", "touching"]
# What a turn ends. all: every cue's effect; now: that and the effect of a header such as "Past Medical History";
# cause: that of negated and hypothetical cues; after comma: every cue's, if a comma stands before
# the turn; severity: that of a denial, in the same way, unless its list goes on to an "or"; family: that of family cues.
Turn = Literal["all", "now", "cause", "after comma", "severity", "family"]


@dataclass(frozen=True, slots=True)
class Cue:
    """``status`` is that of the mentions it governs; None for directions ``turn`` and ``nothing``.

    ``section``: as a header, the cue governs its section. ``heading``: alone on its line it governs the list below, without a
    colon too. ``labelled``: it counts only as a header, with a colon in it ("All: PCN"). ``within``: a denial that was begun goes
    on over the cue after a comma. ``alternatives``: the cue governs the mention before it and the one after it. ``closing``: it
    governs the mention before it only where its clause ends after it. ``yields``: it governs the mention right after it instead,
    if one follows. ``ahead``: the status of the mentions after it, where that differs. ``opening``: it governs the mentions after
    it only if it begins the sentence.
    """

    direction: Direction
    status: Status | None = None
    reach: Reach = "list"
    turn: Turn = "all"
    section: bool = False
    within: bool = False
    alternatives: bool = False
    closing: bool = False
    yields: bool = False
    ahead: Status | None = None
    heading: bool = False
    labelled: bool = False
    opening: bool = False


TABLE: tuple[tuple[Cue, str], ...] = (
    (
        Cue("forward", "negated"),
        "no|denies|denied|denying|without|w/o|negative for|neg for|absence of|never had|never been diagnosed with|"
        "free of|free from|not found to have|"
        "ruled out for|rules out|neither|nor|no evidence of|no signs of|no sign of|does not have|did not have|"
        "do not have|not have|"
        "doesn't have|has not had|had not had|has never had|no history of|no hx of|no h/o|without evidence of|"
        "without history of|"
        "low suspicion for|low concern for|low likelihood of|low likelihood for|doubt|low suspicion|"
        "low clinical suspicion|low clinical suspicion for|no concern for|not concerning for|"
        "low index of suspicion for|"
        "little concern for|little suspicion for|immune to|"
        "never suffered|never suffered from|never developed|never experienced|never got|has not ever had|have not ever had|"
        "have not had|not had|not any|do not suspect|does not suffer from|did not develop|does not carry a diagnosis of|"
        "not ever had|not have any|"
        "not consistent with|unlikely to be|"
        "unlikely to represent|unlikely to have|not suggestive of|not diagnostic of|declines|fails to show|"
        "failed to show|not due to|not secondary to|not caused by|"
        "did not show|does not show|did not reveal|no prior diagnosis of|no known|r/o'd for|r/o'ed for|"
        "has not been diagnosed with|not been diagnosed with|never diagnosed with|negatives|-ve for",
    ),
    (
        Cue("forward", "negated", "comma"),
        "not|excluding|excludes|isn't|wasn't|aren't|weren't|hasn't|haven't|hadn't|" + UNCERTAIN,
    ),
    (
        Cue("both", "negated", "comma", closing=True),
        "ruled out|negative|neg|absent|nil|excluded|unlikely|was ruled out|were ruled out|is ruled out|been ruled out|"
        "has been ruled out|have been ruled out|"
        "was excluded|"
        "were excluded|has been excluded|was negative|were negative|is negative|r/o'd|r/o'ed|ro'd",
    ),
    (
        Cue("backward", "negated"),
        "not seen|not identified|not present|not detected|not found|not demonstrated|not visualized|not appreciated|"
        "not noted|"
        "was not seen|were not seen|is not seen|nonreactive|non-reactive|not reactive|felt to be unlikely|thought unlikely|"
        "thought to be unlikely|very unlikely|"
        "not likely|not supported|undetected|never found|never seen|never identified|not been seen|not been found|"
        "not been identified|not been detected",
    ),
    (Cue("forward", "negated", heading=True), "pertinent negatives"),
    (Cue("backward", "negated", "touching", closing=True), "immune|nonimmune|non-immune|not immune|none|nr"),
    (Cue("both", "negated", yields=True, ahead="hypothetical"), "less likely|doubtful"),
    (
        Cue("forward", "family", section=True),
        "family history|family hx|family medical history|family medical hx|family hist|family h/o|fh|fhx|fam hx|famhx|fmh|fmhx",
    ),
    (Cue("both", "family"), "|".join(RELATIVES)),
    (Cue("forward", "family"), "|".join(f"{who} {verb}" for who in OTHERS for verb in SUFFER)),
    (Cue("forward", "family"), THEIRS),
    (Cue("forward", "family", "touching"), "maternal|paternal"),
    (
        Cue("backward", "family"),
        IN_FAMILY,
    ),
    (
        Cue("forward", "hypothetical"),
        "if|should he|should she|should they|should the patient|should you|to rule out|risk of|in the event|"
        "in the event of|in event of|"
        "in the event that|"
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
        "may be|differential includes|differential diagnosis includes|ddx includes|"
        "carrier of|carrier for|fear of|fears|worried about|worry about|susceptible to|susceptibility to|"
        "predisposition to|"
        "predisposed to|would be at risk for|test for|testing for|tested for|"
        + "|".join(f"{shot} {word}" for shot in PREVENTED for word in ("against", "for"))
        + "|"
        "call if|call your doctor if|signs of|symptoms of|symptoms concerning for|"
        "risks of|risks include|risks including|complications may include|complications can include|"
        "complications could include|"
        "including but not limited to|not limited to|possible adverse events|side effects include|"
        "suspect|suspects|suspecting|suspicious of|query|indeterminate for|could have|would suggest|might be|e.g|for example|"
        "chance of|potential for",
    ),
    (
        Cue("forward", "hypothetical", heading=True),
        "risks|possible risks|potential risks|possible complications|potential complications|known complications|"
        "differential diagnosis|differential diagnoses|differential|ddx",
    ),
    (Cue("both", "hypothetical", closing=True), "r/o|ro|rule out|not r/o"),
    (Cue("forward", "hypothetical", "comma"), "allergic to|allergy to|allergies to"),
    (Cue("forward", "hypothetical", "next"), "exposure to|exposed to|close contact with|in contact with"),
    (Cue("both", "hypothetical", "comma"), "prophylaxis|ppx|precautions|prophylactic"),
    (
        Cue("both", "hypothetical", "comma", yields=True),
        "suspected|possible|possibly|poss|is suspected|was suspected|is possible",
    ),
    (
        Cue("both", "hypothetical", yields=True),
        "|".join(f"{level} {chance}{to}" for level in LOW for chance in CHANCES for to in ("", " of", " for")),
    ),
    (
        Cue("both", "hypothetical", "touching", closing=True),
        "entertained|was entertained|is being considered|are being considered|considered|was considered|were considered|"
        "is considered|being considered|consider|considering",
    ),
    (
        Cue("backward", "hypothetical"),
        "cannot be excluded|cannot be ruled out|could not be excluded|could not be ruled out|can not be excluded|"
        "not excluded|"
        "can't be excluded|not ruled out|not be ruled out|not be excluded|was not ruled out|was not excluded|"
        "has not been ruled out|"
        "not been excluded|is a possibility|remains possible|is a consideration|in the differential|to be ruled out|"
        "is in question|as a risk|as risks|as a possible complication|as possible complications|as potential complications|"
        "evaluation and management|evaluation and treatment|"
        + "|".join(
            f"not {adverb} {ruled}"
            for adverb in ("yet", "definitively", "completely", "fully", "entirely", "yet been")
            for ruled in ("ruled out", "excluded")
        )
        + "|never ruled out|never excluded|not been ruled out|on the differential|on ddx|on the ddx|in the ddx",
    ),
    (
        Cue("backward", "hypothetical", "touching", closing=True),
        "vaccinated|immunized|booster|shot|shots|jab|vax|exposure|exposures|contact|contacts",
    ),
    (
        Cue("backward", "hypothetical", "touching"),
        "vaccine|vaccines|vaccination|vaccinations|immunization|immunizations|screening|screen|test|tests|testing|"
        "clinic|work up|"
        "workup|serologies|"
        "serology|serum antibody|antibody|antibodies|risk|risk factors|carrier|support group|education|protocol",
    ),
    (Cue("both", "hypothetical", "touching", alternatives=True), "vs|versus"),
    (
        Cue("forward", "historical"),
        "history of|history significant for|history notable for|history includes|h/o|hx of|hx|past history|"
        "past history of|"
        "medical history|medical history of|with a history of|remote history of|personal history of|"
        "personal history of other",
    ),
    (
        Cue("forward", "historical", section=True),
        "past medical history|past medical history of|pmh|pmhx|pmhx of|past surgical history|psh|pshx|surgical history|"
        "surgical hx|"
        "past surgical hx|psychiatric history|"
        "past medical and surgical history|"
        "past medical hx|past medical hist|past history|past hx|medical hx|past medical/surgical history|pmh/psh|"
        "past psychiatric history|prior medical history|medical history",
    ),
    (
        Cue("forward", "historical", "next"),
        "s/p|status post|previously|remote|distant|outgrew|former|old|previously diagnosed with|previously treated|"
        "formerly|no longer have|"
        "no longer has|no longer having|no longer with|no longer had|no longer suffers from|no longer in|"
        "no longer meets criteria for",
    ),
    (Cue("forward", "historical", "touching"), "no longer|childhood"),
    (
        Cue("forward", "historical", "next", within=True),
        "previous|prior|past",
    ),
    (
        Cue("backward", "historical"),
        "has resolved|have resolved|now resolved|resolved|was resolved|since resolved|outgrown|at age|at the age of",
    ),
    (Cue("both", "historical", "comma", opening=True), PAST),
    (Cue("forward", "historical", "comma", opening=True), YEARS),
    (
        Cue("forward", "hypothetical", "comma", section=True),
        "allergies|allergies and adverse reactions|adverse reactions|drug allergies|allergy|drug allergy|known allergies|"
        "medication allergies|allergies/adrs|allergies/intolerances|allergies/adverse reactions|adrs",
    ),
    (
        Cue("forward", "hypothetical", section=True, labelled=True),
        "|".join(f"all {allergen}" for allergen in ALLERGENS),
    ),
    (
        Cue("turn"),
        "but|however|although|though|except|except for|aside from|apart from|other than|yet|while|whereas|nevertheless|rather|"
        "positive for|pos for|tested positive for|is positive for|+ve for|shows|showed|reveals|revealed|demonstrates|"
        "and she|and he|and patient takes|instead",
    ),
    (
        Cue("turn", turn="now"),
        "now with|now has|and now|present with|presents with|presenting with|presented with|p/w|present for|presents for|"
        "presented for|who presents|who presented|found to have|here with|here for|admitted with|admitted for|admitted w/",
    ),
    (
        Cue("turn", turn="cause"),
        "due to|secondary to|because of|given|in the setting of|in light of|in setting of|attributed to|caused by|"
        "d/t|2/2|for which|"
        "treated for|treated with|treatment for|therapy for|medication for|medications for|meds for|drugs for|surgery for|"
        "help with|help for|hospitalized for|hospitalization for|hospitalizations for|admissions for|followed for|"
        "diagnosed with|was diagnosed with|is diagnosed with|on treatment for|"
        "consistent with|most consistent with",
    ),
    (
        Cue("turn", turn="after comma"),
        "has|had|have|known|admitted|presents|presented|does have|now|s/p|started|started on|treated|likely|found",
    ),
    (
        Cue("turn", turn="severity"),
        "mild|moderate|severe|trace|small|large|stable|unchanged|worsening|worsened|improving|persistent|chronic",
    ),
    (
        Cue("turn", turn="family"),
        "patient|pt|the patient|patient has|pt has|he himself|she herself|himself|herself|he has|she has",
    ),
    (
        Cue("nothing"),
        "no change|no changes|no change in|no increase|no increase in|no significant change|no significant change in|"
        "no further|"
        "no interval change|no interval change in|no improvement|no improvement in|no relief|"
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
        "child's pugh|child pugh|child class|immune globulin|considered to be|considered to have|contact isolation|"
        "contact lenses|contact lens|not been compliant|not been taking|not take|not tolerate|was considered to be|"
        "is considered to be|possible side effects|non suspected|no doubt|without doubt|" + TELLING,
    ),
)


@cache
def phrases() -> Mapping[str, Cue]:
    """Folded phrase -> cue. Where two rows hold the same phrase the first row wins, unless the other is a section's.

    The spellings of a phrase that the table does not hold come last.
    """
    cues: dict[str, Cue] = {}
    for cue, listed in TABLE:
        for phrase in listed.split("|"):
            key = pattern(phrase)
            if key not in cues or cue.section:
                cues[key] = cue
    for cue, listed in TABLE:
        for phrase in listed.split("|"):
            for spelling in spellings(phrase):
                cues.setdefault(pattern(spelling), cue)
    return cues
