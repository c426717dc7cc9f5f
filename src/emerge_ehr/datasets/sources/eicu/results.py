"""Reads eICU's laboratory results, which stand twice in a row of ``lab``.

``labresult`` is a number in the unit ``labmeasurenamesystem``, to which the ICU's system may have converted it; ``labresulttext``
is what the laboratory sent, in the unit ``labmeasurenameinterface``, and may be a bound such as ``>600``, which has no number.
The demo shows it: ionized calcium is 5.0 mg/dL and 1.25 mmol/L in one row; an FiO2 sent as ``40.0`` % was multiplied by 100.
"""

import polars as pl

from emerge_ehr.signals import numbers, readings, units
from emerge_ehr.signals.signals import Signal

# All of the oxygen or a hundredth of it: 40 and 0.40 have the unit "%", and "1.00" is a fraction as "0.40" is.
ONE_PERCENT = {"one_percent": "an oxygen fraction of 1 in percent, which may be 1 % or 100 %"}
UNIT_UNKNOWN = {"unit_unknown": "in a unit that the signal does not have"}
DROPS = {**UNIT_UNKNOWN, **readings.DISAGREE, **ONE_PERCENT}
REPAIRS = {"other_unit": "converted from another unit", **readings.ONE_PLAUSIBLE, **readings.BOUND}


def result_columns(events: pl.LazyFrame, known: tuple[Signal, ...]) -> pl.LazyFrame:
    """``n, event_time, code, value, rank`` of the signals ``known``, and the flags of ``DROPS`` and ``REPAIRS``.

    ``events``: ``n, event_time, code, scale, offset, rank, labresult, labresulttext, labmeasurenamesystem,
    labmeasurenameinterface``.
    """
    code, text = pl.col("code"), pl.col("labresulttext").str.strip_chars()
    system, interface = pl.col("labmeasurenamesystem"), pl.col("labmeasurenameinterface")
    number_unit = pl.when(units.is_stated(system)).then(system).otherwise(interface)
    sent_in = pl.when(units.is_stated(interface)).then(interface).otherwise(system)
    text_unit = pl.coalesce(numbers.unit_of_bound(text, known), sent_in)
    own = (pl.col("scale"), pl.col("offset"))
    shown, written = (
        numbers.as_written(number, text, code, known) for number in (pl.col("labresult"), numbers.number(text, known))
    )
    events = events.with_columns(
        units.converted(shown, code, number_unit, own, known).alias("result"),
        units.converted(written, code, text_unit, own, known).alias("sent"),
    )
    reading = readings.read(pl.col("result"), pl.col("sent"), code, readings.CONVERTED, known)
    is_one = text.str.contains(r"^0*1$").fill_null(value=False)
    in_percent = interface.str.contains(numbers.PERCENT).fill_null(value=False)  # as the laboratory itself says
    unit = pl.when(reading.by_text).then(text_unit).otherwise(number_unit)
    is_known = units.is_known(code, text_unit, known) & units.is_known(code, number_unit, known)
    return events.select(
        "n",
        "event_time",
        "code",
        reading.value.alias("value"),
        "rank",
        (~is_known).alias("unit_unknown"),
        reading.disagree.alias("disagree"),
        (code.is_in(numbers.fractions(known)) & (reading.value == 1.0) & is_one & in_percent).alias("one_percent"),
        (units.scale(code, unit, known).fill_null(1.0) != 1.0).alias("other_unit"),
        reading.one_plausible.alias("one_plausible"),
        (numbers.is_bound(text, known) & (pl.col("labresult").is_null() | reading.agree)).alias("bound"),
    )
