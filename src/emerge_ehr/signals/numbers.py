"""Reads numbers that a chart or a laboratory wrote as text, such as ``7.4``, ``40 %``, ``>600`` or ``GREATER THAN 33 mmol/L``.

**What follows the number of a bound** says whether it is one. A unit, or a remark after a full stop, a comma or a bracket, may
follow. "LESS THAN 60 MINUTES AFTER MEAL" and "LESS THAN 7 DAYS OLD" count something else, and are no bounds.

**A comma** before three digits may stand for thousands or for a decimal point. Such a text is no number, unless another comma
or a point shows that it means thousands: ``>48,295`` may be 48295 or 48.295.

``signals``: those whose units a text may name; by default those of the benchmark.
"""

import polars as pl

from emerge_ehr.signals import units
from emerge_ehr.signals.signals import SIGNALS, Signal

NUMBER = r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]*|[0-9]{1,3}(?:,[0-9]{3}){2,}|[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
WHOLE, FULL_STOP_APART = r"[0-9]+\.?[0-9]*|", r"[0-9]+(?:\.[0-9]+)?|"  # after a bound, a full stop may end it
WORDS = r"(?:greater|more|higher|less|lower|fewer)(?: than)?|above|over|below|under|at least|at most|up to|gt|lt|ge|le"
BOUND = rf"(?i)^\s*(?:(?:[<>]\s*=?|=\s*[<>]|[≤≥])|(?:{WORDS})\s(?:or equal(?: to)?\s)?)\s*"
PLAIN = rf"^\s*({NUMBER})\s*%?\s*$"
PERCENT = r"(?i)%|percent|pct"
BOUNDED = rf"(?s){BOUND}({NUMBER.replace(WHOLE, FULL_STOP_APART)})((?:[^\d,].*)?)$"
# A remark holds no number, unless it is a sentence of its own: "<0.01. Values above 0.10 suggest an infarction."
WITHOUT_REMARK = r"(?s)^([^.,;(*!]*?)\s*(?:\.\s.*|[.,;(*!]\D*)?$"
PARSED = pl.Struct({"number": pl.Float64, "bound": pl.Boolean, "unit": pl.String})
# A mark of an abnormal result, or a word of the laboratory's after the number
MARKS = r"(?i)^(?:hh|ll|hi|lo|high|low|critical|panic|verified|repeated|checked|confirmed)$"


def fractions(signals: tuple[Signal, ...] = SIGNALS) -> list[str]:
    """The signals whose values above 1 were charted in percent."""
    return [signal.name for signal in signals if signal.percent]


FRACTIONS = fractions()


def number(text: pl.Expr, signals: tuple[Signal, ...] = SIGNALS) -> pl.Expr:
    """The number in ``text``; that of a bound is the bound itself, in its ``unit_of_bound``; null for anything else.

    >>> texts = ["7.4", "40 %", ">600", "< .5", "GREATER THAN 500. OK", "1,200.5", "1,200", "under 7 days"]
    >>> pl.DataFrame({"text": texts}).select(number(pl.col("text"))).to_series().to_list()
    [7.4, 40.0, 600.0, 0.5, 500.0, 1200.5, None, None]
    """
    return parsed(text, signals).struct.field("number")


def is_bound(text: pl.Expr, signals: tuple[Signal, ...] = SIGNALS) -> pl.Expr:
    """Whether ``text`` is a bound, such as ``>600``, rather than a value; false where it is null.

    >>> texts = ["7.4", ">600 mg/dL", "less than or equal to 10", ">= 3 (H)", "≤5", "over there", "LESS THAN 60 MINUTES", None]
    >>> pl.DataFrame({"text": texts}).select(is_bound(pl.col("text"))).to_series().to_list()
    [False, True, True, True, True, False, False, False]
    """
    return parsed(text, signals).struct.field("bound").fill_null(value=False)


def unit_of_bound(text: pl.Expr, signals: tuple[Signal, ...] = SIGNALS) -> pl.Expr:
    """The unit that a bound states, as ``units.folded`` gives it; null where it states none, or ``text`` is no bound.

    >>> texts = [">33.3 mmol/L", "GREATER THAN 33 MMOL/L.", ">600 mg/dL, verified", ">600", "33 mmol/L", "< 7 days"]
    >>> pl.DataFrame({"text": texts}).select(unit_of_bound(pl.col("text"))).to_series().to_list()
    ['mmol/l', 'mmol/l', 'mg/dl', None, None, None]
    """
    return parsed(text, signals).struct.field("unit")


def as_written(value: pl.Expr, text: pl.Expr, code: pl.Expr, signals: tuple[Signal, ...] = SIGNALS) -> pl.Expr:
    """``value`` of the signal ``code``; of a signal that is a fraction a hundredth, where ``text`` is that number in percent.

    Elsewhere a value up to 1 is a fraction and a greater one is percent, but "1%" says that it is not all of something.

    >>> rows = pl.DataFrame({"value": [1.0, 1.0, 40.0, 0.4, 98.0], "text": ["1%", "1", "40 %", "40%", "98%"]})
    >>> codes = pl.Series("code", ["fraction_inspired_oxygen"] * 4 + ["oxygen_saturation"])
    >>> value, text, code = pl.col("value"), pl.col("text"), pl.col("code")
    >>> rows.with_columns(codes).select(as_written(value, text, code)).to_series().to_list()
    [0.01, 1.0, 0.4, 0.4, 98.0]
    """
    text = pl.when(code.is_in(fractions(signals))).then(text)  # few rows: the texts of all would take long
    percent = text.str.contains(PERCENT) & (number(text, signals) == value)
    return pl.when(percent.fill_null(value=False)).then(value / 100).otherwise(value)


def is_bare_one(text: pl.Expr) -> pl.Expr:
    """Whether ``text`` is the number 1 without a percent sign, however it is spelt; false where it is null.

    >>> texts = ["1", " 1.0", "01", "1%", "10", ">1", None]
    >>> pl.DataFrame({"text": texts}).select(is_bare_one(pl.col("text"))).to_series().to_list()
    [True, True, True, False, False, False, False]
    """
    other = text.str.contains(PERCENT) | is_bound(text)
    return ((number(text) == 1) & ~other).fill_null(value=False)


def parsed(text: pl.Expr, signals: tuple[Signal, ...] = SIGNALS) -> pl.Expr:
    """``number, bound, unit`` of the texts, as the three functions above give them."""
    return text.map_batches(lambda texts: _parsed(texts, signals), return_dtype=PARSED, is_elementwise=True)


def _parsed(texts: pl.Series, signals: tuple[Signal, ...]) -> pl.Series:
    """Each text is taken apart once, and numbers not at all: preparing the patterns takes long, and most texts are numbers."""
    table = texts.rename("text").to_frame()
    plain = table.select(pl.col("text").cast(pl.Float64, strict=False)).to_series()
    table = table.with_columns(plain.alias("plain"), plain.is_finite().fill_null(value=False).alias("finite"))
    written = table.filter(~pl.col("finite") & pl.col("text").is_not_null()).select("text").unique()
    found = pl.DataFrame(schema={"text": pl.String, "of_text": PARSED})
    if not written.is_empty():
        found = written.select("text", pl.struct(*_taken_apart(pl.col("text"), signals)).alias("of_text"))
    rows = table.join(found, on="text", how="left", maintain_order="left")
    of_text = pl.col("of_text").struct
    return rows.select(
        pl.struct(
            pl.when("finite").then("plain").otherwise(of_text.field("number")).alias("number"),
            of_text.field("bound").fill_null(value=False),
            of_text.field("unit"),
        )
    ).to_series().alias(texts.name)  # fmt: skip


def _taken_apart(text: pl.Expr, signals: tuple[Signal, ...]) -> list[pl.Expr]:
    rest = text.str.extract(BOUNDED, 2)
    remarked = rest.str.extract(WITHOUT_REMARK).str.strip_chars()
    forms = [units.folded(form) for form in (rest.str.strip_chars(" ."), remarked)]
    unit = pl.coalesce(*(pl.when(form.is_in(units.every(signals))).then(form) for form in forms))
    blank = rest.str.strip_chars(" .") == ""
    bound = (blank | (remarked == "") | remarked.str.contains(MARKS) | unit.is_not_null()).fill_null(value=False)
    written = pl.coalesce(text.str.extract(PLAIN), pl.when(bound).then(text.str.extract(BOUNDED)))
    value = written.str.replace_all(",", "", literal=True).cast(pl.Float64, strict=False)
    return [pl.when(value.is_finite()).then(value).alias("number"), bound.alias("bound"), unit.alias("unit")]
