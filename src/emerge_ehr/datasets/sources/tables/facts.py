"""``static.csv``: what is known of each patient."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources.tables.fields import small_table
from emerge_ehr.storage import schema
from emerge_ehr.storage.nothing import may_say_nothing
from emerge_ehr.storage.sexes import known_sex

FACTS: dict[str, schema.Kind] = {
    "age": "number",
    "sex": "text",
    "gender": "text",
    "ethnicity": "text",
    "icu_type": "text",
    schema.SITE: "text",
}


def static_facts(folder: Path, sexes: Mapping[str, str]) -> tuple[pl.DataFrame, list[str]]:
    """``patient_id, age, sex, ethnicity, icu_type`` and, if known of anybody, ``site``; and warnings of sexes that are numbers
    without a meaning, or contradict.

    The sex is that of the column ``sex``, or where this says nothing that of ``gender``; ``sexes``: what their codes mean.
    """
    facts = small_table(folder, schema.STATIC, FACTS)
    codes = [_stated(name) for name in ("sex", "gender")]
    told = facts.select(pl.coalesce(_meant(code, sexes), known_sex(code)) for code in codes)
    differ = (told["sex"] != told["gender"]).fill_null(value=False)
    code = pl.coalesce(codes)
    meant = _meant(code, sexes)
    unclear = code.cast(pl.Float64, strict=False).is_not_null() & meant.is_null()
    numbers = facts.filter(unclear).select(code.alias("code"))["code"]
    sex = pl.when(~unclear & ~differ).then(pl.coalesce(meant, known_sex(code), code)).alias("sex")
    warnings = []
    if len(numbers):
        shown = ", ".join(numbers.unique().sort().head(5))
        warnings.append(
            f"static.csv: the sex (or gender) of {len(numbers)} patients is a number ({shown}) whose meaning is not said, and "
            'counts as unknown; write F and M, or say it in the config: source.sexes = { "1" = "M", "0" = "F" }'
        )
    if count := int(differ.sum()):
        warnings.append(f"static.csv: sex and gender of {count} patients contradict each other, and count as unknown")
    stated = facts if facts[schema.SITE].count() else facts.drop(schema.SITE)
    return stated.with_columns(sex).drop("gender"), warnings


def _stated(name: str) -> pl.Expr:
    """The column's texts, ``1`` for ``1.0``; null where it says nothing."""
    text = pl.col(name).str.strip_chars()
    return pl.when(~may_say_nothing(text)).then(text.str.replace(r"^(\d+)\.0+$", "${1}"))


def _meant(code: pl.Expr, sexes: Mapping[str, str]) -> pl.Expr:
    return code.replace_strict(sexes, default=None, return_dtype=pl.String)
