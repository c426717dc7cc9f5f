"""Reads eICU's laboratory results, which stand twice in a row of ``lab``.

``labresult`` is a number in the unit ``labmeasurenamesystem``, to which the ICU's system may have converted it; ``labresulttext``
is what the laboratory sent, in the unit ``labmeasurenameinterface``, and may be a bound such as ``>600``, which has no number.
The demo shows it: ionized calcium is 5.0 mg/dL and 1.25 mmol/L in one row; an FiO2 sent as ``40.0`` % was multiplied by 100.
"""

import polars as pl

from emerge_ehr.signals import numbers, readings, units

# All of the oxygen or a hundredth of it: 40 and 0.40 have the unit "%", and "1.00" is a fraction as "0.40" is.
ONE_PERCENT = {"one_percent": "an oxygen fraction of 1 in percent, which may be 1 % or 100 %"}
UNIT_UNKNOWN = {"unit_unknown": "in a unit that the signal does not have"}
DROPS = {**UNIT_UNKNOWN, **readings.DISAGREE, **ONE_PERCENT}
REPAIRS = {"other_unit": "converted from another unit", **readings.ONE_PLAUSIBLE, **readings.BOUND}


def result_columns(events: pl.LazyFrame) -> pl.LazyFrame:
    """``n, event_time, code, value`` and the flags of ``DROPS`` and ``REPAIRS``.

    ``events``: ``n, event_time, code, labresult, labresulttext, labmeasurenamesystem, labmeasurenameinterface``.
    """
    code, text = pl.col("code"), pl.col("labresulttext").str.strip_chars()
    system, interface = pl.col("labmeasurenamesystem"), pl.col("labmeasurenameinterface")
    number_unit = pl.when(units.is_stated(system)).then(system).otherwise(interface)
    sent_in = pl.when(units.is_stated(interface)).then(interface).otherwise(system)
    text_unit = pl.coalesce(numbers.unit_of_bound(text), sent_in)
    same = (pl.lit(1.0), pl.lit(0.0))
    shown, written = (numbers.as_written(number, text, code) for number in (pl.col("labresult"), numbers.number(text)))
    events = events.with_columns(
        units.converted(shown, code, number_unit, same).alias("result"),
        units.converted(written, code, text_unit, same).alias("sent"),
    )
    reading = readings.read(pl.col("result"), pl.col("sent"), code, readings.CONVERTED)
    is_one = text.str.contains(r"^0*1$").fill_null(value=False)
    in_percent = interface.str.contains(numbers.PERCENT).fill_null(value=False)  # as the laboratory itself says
    unit = pl.when(reading.by_text).then(text_unit).otherwise(number_unit)
    known = units.is_known(code, text_unit) & units.is_known(code, number_unit)
    return events.select(
        "n",
        "event_time",
        "code",
        reading.value.alias("value"),
        (~known).alias("unit_unknown"),
        reading.disagree.alias("disagree"),
        (code.is_in(numbers.FRACTIONS) & (reading.value == 1.0) & is_one & in_percent).alias("one_percent"),
        (units.scale(code, unit).fill_null(1.0) != 1.0).alias("other_unit"),
        reading.one_plausible.alias("one_plausible"),
        (numbers.is_bound(text) & (pl.col("labresult").is_null() | reading.agree)).alias("bound"),
    )
