"""Turns the elements of eICU's forms into lines of text, so that what an element says is said by its line and heading.

An element is a path of steps (``notes/Progress Notes/.../Family History/CAD/CAD``) and what was chosen or entered at its end.
The path is not prose: most steps are categories or repeat one another, and only some change the meaning. A line keeps the last
step and the one above it, unless the last repeats it; the part of the form becomes the heading of its lines, since a disease
under "Family History" is not the patient's, and one under "Past History" is past.

Steps are separated by "/", which also occurs within them ("Asthma / Wheezing", "Hematology/Oncology", "asthma/wheezing"). The
last step is known from the column with the chosen value, which repeats it.
"""

import polars as pl

# Elements that say how the form was displayed, printed and filled in, and nothing about the patient.
FORM = (
    r"^notes/Shared/|/[^/]*Options(?: \d+)?/|/Include Rx/|/Enter surgery Information\?/|/Time-Out Process/|"
    r"/Source of Patient Information:/|/Interventions/.* - (?:evaluation|assessment) and (?:management|treatment)"
)
# ... but for these, which do.
ABSENT = ("no health problems", "not significant")
# Steps with a slash in them; "\0" stands for the slash while a path is taken apart.
SLASHED = r"\b(Hematology|FEV1|s|S|A|and|h|r|w|BAL|Metabolic)/(Oncology|FVC|p|V|or|o|O|stent|Endocrine)\b"
FAMILY, PAST = "Family History", "Past Medical History"
HEADINGS = {
    r"(?i)^family (?:medical )?(?:history|hx)(?:\s*\(r\))?$": FAMILY,
    r"(?i)^social history$": "Social History",
    r"(?i)^past (?:medical )?history$": PAST,
}
# What stands in brackets and tells the clinician where to enter another diagnosis, or gives examples, and is no finding.
REMARK = (
    r"(?i)\s*\((?:for|e\.?g\.?|i\.?e\.?|if|see|with or without|including|excluding|not inflammatory|transfer from|angina|asymp)\b"
    r"[^()]*\)|,? for [^,()]* see \w+$"
)
# Two-letter names of valve diseases mean other diseases elsewhere ("MS", "AS").
VALVES = {
    "AS": "aortic stenosis",
    "AR": "aortic regurgitation",
    "AI": "aortic insufficiency",
    "MS": "mitral stenosis",
    "MR": "mitral regurgitation",
    "TS": "tricuspid stenosis",
    "TR": "tricuspid regurgitation",
    "PS": "pulmonic stenosis",
    "PR": "pulmonic regurgitation",
    "s/p AVR": "s/p aortic valve replacement",
    "s/p MVR": "s/p mitral valve replacement",
    "s/p TVR": "s/p tricuspid valve replacement",
}
# Where a cancer began -> as it is called in the cancer's name
SITES = {
    "ovary": "ovarian",
    "uterus": "uterine",
    "esophagus": "esophageal",
    "testes": "testicular",
    "pancreas": "pancreatic",
    "stomach": "gastric",
}
# Steps that only say which list the last step was chosen from, and would read as a second disease
LISTS = ("Hematologic Malignancy", "Restrictive Disease", "Chronic Stone Disease", "Arrhythmias", "HIV (only)")
# Last steps that name nothing by themselves, even where the step above repeats them
NAMELESS = ("multiple", "other", "unknown")
OWN_NAME = r"(?i)melanoma|sarcoma|lymphoma|leukemia|myeloma|carcinoma$"


def is_form(path: str, value: str) -> pl.Expr:
    """Whether an element says nothing about the patient."""
    absent = pl.col(value).str.strip_chars().str.to_lowercase().is_in(ABSENT).fill_null(value=False)
    return pl.col(path).str.contains(FORM).fill_null(value=False) & ~absent


def with_lines(rows: pl.DataFrame, path: str, value: str, text: str) -> pl.DataFrame:
    """Add ``heading`` and ``line``; ``path, value, text`` name the columns with the path, the last step and what was entered.

    >>> family = "notes/Progress Notes/Social History / Family History/Family History/Family History/CAD/CAD"
    >>> review = "notes/Progress Notes/Review Of Systems/Systems/"
    >>> rows = [
    ...     (family, "CAD", "CAD"),
    ...     (review + 'Cardiovascular/Print "Negative"/negative', "negative", None),
    ...     (review + "Pulmonary/Asthma / Wheezing/denies asthma/wheezing", "denies asthma/wheezing", None),
    ...     ("notes/Progress Notes/Vital Signs/Resp Rate/Resp Current", "Resp Current", "24"),
    ...     ("notes/Progress Notes/Allergies / Preadmission Medications/Allergies/No", "No", "No"),
    ... ]
    >>> table = with_lines(pl.DataFrame(rows, schema=["path", "value", "text"], orient="row"), "path", "value", "text")
    >>> for heading, line in table.select("heading", "line").rows():
    ...     print(f"{heading} | {line}")
    Family History | CAD
    Review Of Systems | Cardiovascular: negative
    Review Of Systems | denies asthma/wheezing
    Vital Signs | Resp Rate: Resp Current: 24
    Allergies / Preadmission Medications | no Allergies
    """
    last = pl.coalesce(_text(value), pl.col(path).str.extract(r"([^/]*)/?$"))
    rows = rows.with_columns(last.alias("last"), _text(text).alias("entered"))
    end = pl.concat_str(pl.lit("/"), "last")
    stripped = pl.when(pl.col(path).str.ends_with(end)).then(pl.col(path).str.strip_suffix(end))
    above = pl.coalesce(stripped, pl.col(path).str.replace(r"/[^/]*$", "")).str.replace_all(SLASHED, "${1}\0${2}")
    steps = above.str.replace_all(" / ", " \0 ", literal=True).str.split("/")
    steps = steps.list.eval(pl.element().str.replace_all("\0", "/", literal=True).str.strip_chars(" :"))
    rows = rows.with_columns(steps.alias("steps"))
    rows = rows.with_columns(_heading().alias("heading")).with_columns(_parent().alias("parent"))
    return rows.with_columns(_line().alias("line")).drop("last", "entered", "steps", "parent")


def tidy(text: pl.Expr) -> pl.Expr:
    """The text without remarks to the clinician who fills in the form.

    >>> texts = ["Hypovolemia (including dehydration, Do not include shock states)", "Infarction, acute myocardial (MI)"]
    >>> pl.DataFrame({"text": texts}).select(tidy(pl.col("text"))).to_series().to_list()
    ['Hypovolemia', 'Infarction, acute myocardial (MI)']
    """
    text = text.str.replace_all(REMARK, "").str.replace_all(r"\bHodgkins\b", "Hodgkin's")
    return text.str.replace_all(r"\s+", " ").str.strip_chars()


def answered(question: pl.Expr, answer: pl.Expr) -> pl.Expr:
    """A question of a form with its answer as a finding: "no" before what was denied, since a reader of "MI: No" finds an MI.

    >>> answers = pl.DataFrame({"question": ["Pre-op MI", "Elective", "Grafts"], "answer": ["No", "Yes", "3"]})
    >>> answers.select(answered(pl.col("question"), pl.col("answer"))).to_series().to_list()
    ['no Pre-op MI', 'Elective', 'Grafts: 3']
    """
    said = answer.str.to_lowercase()
    return (
        pl.when(question.is_null())
        .then(answer)
        .when(said.is_in(["no", "none"]))
        .then(pl.concat_str(pl.lit("no "), question))
        .when(said == "yes")
        .then(question)
        .otherwise(pl.concat_str(question, answer, separator=": "))
    )


def _heading() -> pl.Expr:
    """The part of the form that decides whose findings its elements are and when, or its name."""
    steps = pl.col("steps").list
    named = pl.col("steps")
    for pattern, heading in HEADINGS.items():
        named = named.list.eval(pl.element().str.replace(pattern, heading))
    deciding = named.list.eval(pl.element().filter(pl.element().is_in(list(HEADINGS.values()))))
    after_kind = steps.get(1, null_on_oob=True).str.ends_with("Notes").fill_null(value=False)
    section = pl.when(after_kind).then(steps.get(2, null_on_oob=True)).otherwise(steps.get(1, null_on_oob=True))
    # the innermost part says most: a family history within the past history is the family's
    return pl.coalesce(deciding.list.get(-1, null_on_oob=True), section, pl.lit("Note"))


def _parent() -> pl.Expr:
    """The step above the last; null where the last repeats it or it is the heading itself."""
    # a step such as 'Print "Negative"' says how the form is printed
    said = pl.col("steps").list.eval(pl.element().filter(~pl.element().str.contains(r"^Print | Options$")))
    above = said.list.get(-1, null_on_oob=True)
    nameless = _folded(pl.col("last")).is_in(NAMELESS) & (_folded(above) == _folded(pl.col("last")))
    parent = pl.when(nameless).then(said.list.get(-2, null_on_oob=True)).otherwise(above)
    parent = parent.str.replace(r"\s*\(R\)$", "")
    repeated = _folded(pl.col("last")).str.contains(_folded(parent), literal=True)
    own = parent.str.replace(r"^(?:notes|.* Notes)$", "")
    headed = pl.any_horizontal(
        parent == pl.col("heading"),
        parent.is_in(LISTS) & ~nameless,
        *(parent.str.contains(pattern) for pattern in HEADINGS),
    )
    return pl.when((own != "") & ~repeated & ~headed).then(parent)


def _line() -> pl.Expr:
    parent, last = pl.col("parent"), pl.col("last")
    site = last.str.extract(r"^([^-]*?)\s*(?:-|$)")
    rest = last.str.strip_prefix(site).str.strip_chars(" -")
    named_site = pl.concat_str(site.replace(SITES), pl.lit(" cancer"))
    cancer = (
        pl.when(last.str.contains(OWN_NAME) & ~last.str.contains(" - "))
        .then(last)
        .when(last.str.to_lowercase().is_in(["other", "unknown"]))
        .then(pl.concat_str(pl.lit("cancer, primary site "), last))
        .when(rest != "")
        .then(pl.concat_str(named_site, rest, separator=", "))
        .otherwise(named_site)
    )
    line = (
        pl.when(parent == "Cancer-Primary Site")
        .then(cancer)
        .when(parent == "Valve disease")
        .then(pl.concat_str(pl.lit("valve disease: "), last.replace(VALVES)))
        .otherwise(answered(parent, last))
    )
    more = pl.when(_folded(pl.col("entered")) != _folded(last)).then("entered")
    return tidy(pl.concat_str(line, pl.concat_str(pl.lit(": "), more), ignore_nulls=True))


def _folded(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().str.replace_all(r"\s", "")


def _text(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text)
