"""What concept ids mean: signals and their LOINC codes, units and answers.

``concepts.csv`` has the standard concepts whose ids are published. ``means`` is a LOINC code of ``signals/codes.csv``, whose
units and answers then hold; a UCUM unit; a LOINC answer code; or normal or abnormal, of capillary refill. Where the tables have
the vocabulary itself (``concept``), ids are looked up in it by LOINC, SNOMED and UCUM codes, and what it says of an id counts.

This material contains content from LOINC (http://loinc.org). LOINC is copyright Regenstrief Institute, Inc. and the LOINC
Committee and is available at no cost under the license at http://loinc.org/license.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources._raw.raw_csv import collect
from emerge_ehr.datasets.sources.omop.tables import ID, TEXT, Tables
from emerge_ehr.fields import UserError, listed
from emerge_ehr.signals import codes
from emerge_ehr.signals.numbers import FRACTIONS
from emerge_ehr.signals.signals import SIGNAL_BY_NAME

FILE = Path(__file__).with_name("concepts.csv")
CONCEPT = {"concept_id": ID, "vocabulary_id": TEXT, "concept_code": TEXT, "concept_name": TEXT}
NORMAL, CAPILLARY = {"normal": 0.0, "abnormal": 1.0}, "capillary_refill_rate"


@dataclass(frozen=True)
class Meanings:
    """``measured``: ``concept_id, loinc, code`` (the signal), ``rank, own`` (the unit of rows without one, if there is only one).

    ``units``: ``unit_concept_id, unit`` (UCUM). ``factors``: ``loinc, unit, scale, offset, above``. ``answers``:
    ``loinc, value_as_concept_id, score``.
    """

    measured: pl.DataFrame
    units: pl.DataFrame
    factors: pl.DataFrame
    answers: pl.DataFrame


def meanings(tables: Tables, more: Mapping[str, str], stated: Mapping[str, str]) -> Meanings:
    """What the ids of these tables mean. ``more``: concept id -> LOINC code; ``stated``: signal -> the UCUM code of its rows
    without a unit.

    Raises:
        UserError: ``more`` or ``stated`` name something unknown.
    """
    ids = _ids(tables)
    given = pl.DataFrame(
        {"concept_id": list(more), "means": list(more.values())}, schema={"concept_id": TEXT, "means": TEXT}
    )
    unread = given.filter(
        given["concept_id"].cast(ID, strict=False).is_null() | ~given["means"].is_in(list(codes.known().signal))
    )
    if unread.height:
        name, code = unread.row(0)
        raise UserError(
            f"[source] concepts: '{name}' = '{code}' is not a concept id and a LOINC code of signals/codes.csv"
        )
    own = (
        ids.filter(kind="code")
        .select("concept_id", "means")
        .join(given.with_columns(pl.col("concept_id").cast(ID)), on="concept_id", how="anti")
    )
    measured = pl.concat([own, given.with_columns(pl.col("concept_id").cast(ID))]).rename({"means": "loinc"})
    units = ids.filter(kind="unit").select(pl.col("concept_id").alias("unit_concept_id"), pl.col("means").alias("unit"))
    return Meanings(measured.join(_signals(stated), on="loinc"), units, _factors(), _answers(ids))


def names(tables: Tables, ids: pl.Series) -> pl.DataFrame:
    """``concept_id, vocabulary_id, concept_code, concept_name`` of the ids, where the tables have the vocabulary."""
    wanted = ids.drop_nulls().unique().sort()
    if not tables.has("concept") or wanted.is_empty():
        return pl.DataFrame(schema=CONCEPT)
    found = tables.read("concept", CONCEPT, tuple(CONCEPT), {"concept_id": wanted.to_list()})
    return found.unique("concept_id", keep="first", maintain_order=True)


@cache
def published() -> pl.DataFrame:
    """``concepts.csv``: ``kind, concept_id, vocabulary_id, concept_code, concept_name, means``."""
    return pl.read_csv(FILE, infer_schema=False).with_columns(pl.col("concept_id").cast(ID))


def _ids(tables: Tables) -> pl.DataFrame:
    """``kind, concept_id, means`` of all ids that mean something here.

    What the vocabulary says of a published id counts, except for a unit whose code there is none of the signals' units: units
    have several codes, and old ones.
    """
    ours = published().select("kind", "concept_id", "means")
    if not tables.has("concept"):
        return ours
    known = _by_code().unique(["vocabulary_id", "concept_code"])
    rows = tables.scan("concept", CONCEPT, tuple(CONCEPT)).join(
        known.lazy(), on=["vocabulary_id", "concept_code"], how="left"
    )
    unit = pl.col("vocabulary_id") == "UCUM"
    rows = rows.filter(unit | pl.col("concept_id").is_in(ours["concept_id"].implode()) | pl.col("means").is_not_null())
    found = collect(rows, tables.path("concept")).unique("concept_id", keep="first", maintain_order=True)
    ucum = pl.col("concept_code").str.replace_all(codes.ANNOTATION.pattern, "").replace("", "1")
    read = ucum.is_in(sorted({name for _, name in codes.known().units}))
    units = ours.filter(kind="unit").select("concept_id", pl.col("means").alias("as published"))
    found = found.join(units, on="concept_id", how="left").with_columns(
        pl.when(unit | pl.col("as published").is_not_null()).then(pl.lit("unit")).otherwise("kind").alias("kind"),
        pl.coalesce("means", pl.when(unit & read).then(ucum), "as published", pl.when(unit).then(ucum)).alias("means"),
    )
    others = ours.join(found, on="concept_id", how="anti")
    return pl.concat([found.drop_nulls("means").select(ours.columns), others])


def _by_code() -> pl.DataFrame:
    """``kind, vocabulary_id, concept_code, means`` of every code that means something, whether its id is published or not."""
    columns = ("kind", "vocabulary_id", "concept_code", "means")
    ours = published().drop_nulls("concept_code").select(columns)
    loinc = [("code", "LOINC", code, code) for code in codes.known().signal]
    answers = [("answer", "LOINC", answer, answer) for _, answer in codes.known().scores]
    return pl.concat([ours, pl.DataFrame([*loinc, *answers], schema=list(columns), orient="row")]).unique(
        maintain_order=True
    )


def _signals(stated: Mapping[str, str]) -> pl.DataFrame:
    """``loinc, code, rank, own`` of every LOINC code.

    A row without a unit is read where all units of its code mean the same number, as of a rate or a score, or a fraction of
    oxygen, which its value tells from a percentage; else only if the options say in which unit such rows are.
    """
    known = codes.known()
    for signal, unit in stated.items():
        if signal not in SIGNAL_BY_NAME:
            raise UserError(f"[source] units: '{signal}' is none of the signals {listed(list(SIGNAL_BY_NAME))}")
        of_signal = [loinc for loinc, name in known.signal.items() if name == signal]
        if not any(known.unit(loinc, unit) for loinc in of_signal):
            can = sorted({name for loinc, name in known.units if loinc in of_signal and name})
            raise UserError(f"[source] units: {signal} is not read in '{unit}'; UCUM units that are: {', '.join(can)}")
    rows = []
    for loinc, signal in known.signal.items():
        units = [(unit, factor) for (code, unit), factor in known.units.items() if code == loinc]
        same = (
            len({(factor.scale, factor.offset, factor.above) for _, factor in units}) == 1 and units[0][1].above is None
        )
        own = stated.get(signal) or (units[0][0] if same or signal in FRACTIONS else None)
        rows.append((loinc, signal, known.rank[loinc], own and (codes.ANNOTATION.sub("", own) or "1")))
    schema = {"loinc": TEXT, "code": TEXT, "rank": pl.UInt8(), "own": TEXT}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _factors() -> pl.DataFrame:
    """The units of every LOINC code. That of a fraction is not trusted, since its value says whether it is a percentage."""
    known = codes.known()
    rows = [
        (loinc, unit, 1.0 if known.signal[loinc] in FRACTIONS else factor.scale, factor.offset, factor.above)
        for (loinc, unit), factor in known.units.items()
    ]
    schema = {"loinc": TEXT, "unit": TEXT, "scale": pl.Float64(), "offset": pl.Float64(), "above": pl.Float64()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _answers(ids: pl.DataFrame) -> pl.DataFrame:
    known = codes.known()
    scores = [(loinc, answer, score) for (loinc, answer), score in known.scores.items()]
    refill = [loinc for loinc, signal in known.signal.items() if signal == CAPILLARY]
    scores += [(loinc, word, score) for loinc in refill for word, score in NORMAL.items()]
    table = pl.DataFrame(scores, schema={"loinc": TEXT, "means": TEXT, "score": pl.Float64()}, orient="row")
    answers = ids.filter(kind="answer").select(pl.col("concept_id").alias("value_as_concept_id"), "means")
    return table.join(answers, on="means").select("loinc", "value_as_concept_id", "score")
