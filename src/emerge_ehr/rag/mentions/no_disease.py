"""Words and phrases that hold a disease's name in clinical texts and do not mean that the patient has it: ``no_disease.csv``.

Devices, drugs, services, diets, anatomy, scores and tests are called after diseases. Such a phrase is read as a whole, so that
the name within it is not found. A row of the kind "name of the graph" is a name that in a clinical text almost always means
something else, or nothing that could be looked up; only as a whole name is it left out.
"""

import re
from functools import cache
from pathlib import Path

from emerge_ehr.rag import word_lists

TABLE = Path(__file__).with_name("no_disease.csv")
NAME = "name of the graph"
# What after the name of a disease makes it the name of those who treat it, or of a diet or a test for it.
AFTER = (
    "clinic|clinics|service|services|team|consult|consultant|consultants|consultation|center|centre|unit|program|society|"
    "association|registry|fellow|attending|nurse|educator|specialist|specialists|foundation|action plan|order set|bundle|pathway|"
    "alert|score|scoring|scale|inventory|questionnaire|counselor|counseling|support group|surface antigen|surface antibody|"
    "core antibody|antibody|antibodies|igg|igm|titer|titers|shot|shots|booster|toxoid|immune globulin|vax|diet|diets"
)
FOLLOWED = re.compile(rf"[ -](?:{AFTER})\b", re.I)
BEGINNINGS = frozenset(
    words[:3] for words in AFTER.split("|")
)  # what follows most mentions differs in the first letters


@cache
def names() -> frozenset[str]:
    """The names of the graph that are not searched for."""
    return frozenset(row["phrase"] for row in _rows() if row["kind"] == NAME)


@cache
def phrases() -> tuple[str, ...]:
    """The phrases in which no disease is meant."""
    return tuple(row["phrase"] for row in _rows() if row["kind"] != NAME)


def _rows() -> list[dict[str, str]]:
    return word_lists.read(TABLE, "the table of phrases that are no diseases", ("kind", "phrase"))
