"""A result that stands twice in its row, as a number and as the text that was written: which of them counts."""

from dataclasses import dataclass

import polars as pl

from emerge_ehr.signals.numbers import fractions
from emerge_ehr.signals.signals import SIGNALS, Signal

DISAGREE = {"disagree": "number and text of a result disagree, and both are plausible"}
ONE_PLAUSIBLE = {"one_plausible": "number and text of a result disagree: the plausible one is taken"}
BOUND = {"bound": "bounds such as >600, taken as the value"}
# ``close`` of ``read``: for two readings in one unit, and where one of them was converted from another
ROUNDED, CONVERTED = 0.01, 0.05
LOGARITHMS = ["ph"]  # whose differences, rather than ratios, say how far apart two values are


@dataclass(frozen=True)
class Reading:
    """``value`` is the reading that counts; ``by_text``: it is the text's; ``agree``: the two do, or there is only one.

    ``disagree``: they do not, and both are plausible, so that neither can be taken; ``one_plausible``: they do not, and one is.
    """

    value: pl.Expr
    by_text: pl.Expr
    agree: pl.Expr
    disagree: pl.Expr
    one_plausible: pl.Expr


def read(number: pl.Expr, text: pl.Expr, code: pl.Expr, close: float, signals: tuple[Signal, ...] = SIGNALS) -> Reading:
    """Choose between the ``number`` and the number in the ``text``, both in the unit of the signal ``code``, either may be null.

    ``close``: the relative difference up to which they agree, as after a conversion and rounding; of a pH, the difference.

    >>> rows = pl.DataFrame({"number": [12.0, 0.0, 600.0], "text": [120.0, 600.0, 601.0], "code": ["glucose"] * 3})
    >>> reading = read(pl.col("number"), pl.col("text"), pl.col("code"), 0.01)
    >>> rows.select(reading.value.alias("value"), reading.disagree.alias("disagree")).rows()
    [(12.0, True), (600.0, False), (600.0, False)]
    """
    number, text = (_as_fraction(value, code, signals) for value in (number, text))
    size = pl.when(code.is_in(LOGARITHMS)).then(1.0).otherwise(pl.max_horizontal(number.abs(), text.abs()))
    differ = ((number - text).abs() > close * size * (1 + 1e-9)).fill_null(value=False)
    plausible = [_plausible(value, code, signals) for value in (number, text)]
    by_text = number.is_null() | (differ & plausible[1] & ~plausible[0])
    return Reading(
        pl.when(by_text).then(text).otherwise(number),
        by_text,
        ~differ,
        differ & plausible[0] & plausible[1],
        differ & (plausible[0] != plausible[1]),
    )


def _as_fraction(value: pl.Expr, code: pl.Expr, signals: tuple[Signal, ...]) -> pl.Expr:
    return pl.when(code.is_in(fractions(signals)) & (value > 1)).then(value / 100).otherwise(value)


def _plausible(value: pl.Expr, code: pl.Expr, signals: tuple[Signal, ...]) -> pl.Expr:
    """Whether the signal can have that value; a signal of the user's own can have any."""
    bounds = {signal.name: signal.plausible for signal in signals}
    low, high = (
        code.replace_strict(
            list(bounds), [float(ends[end]) for ends in bounds.values()], default=infinite, return_dtype=pl.Float64
        )
        for end, infinite in ((0, -float("inf")), (1, float("inf")))
    )
    return value.is_between(low, high).fill_null(value=False)
