"""Reads ids and other whole numbers as tables and raw files write them, so that one id is the same text everywhere.

A program that holds a column with empty fields as floats, as pandas does, writes ``12.0`` for the id 12.
"""

from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from emerge_ehr.fields import plural
from emerge_ehr.storage.nothing import may_say_nothing

FLOAT = r"^([+-]?\d+)\.0*$"
ZEROS = r"^0+(\d)"


def id_text(ids: pl.Expr) -> pl.Expr:
    """Ids, without blanks around them, and ``12.0`` as ``12``; an empty id, and a word for nothing such as ``NA``, is null.

    Leading zeros are kept, since ``0123`` and ``123`` may be two persons (``alike`` finds them).

    >>> pl.DataFrame({"id": [" 12 ", "12.0", "012", "v1.0", "NA"]}).select(id_text(pl.col("id"))).to_series().to_list()
    ['12', '12', '012', 'v1.0', None]
    """
    text = ids.str.strip_chars()
    float_ = pl.when(text.str.ends_with("0") & text.str.contains(".", literal=True)).then(text)  # few: a regex is slow
    return pl.when(~may_say_nothing(text)).then(pl.coalesce(float_.str.replace(FLOAT, "$1"), text))


def without_zeros(ids: pl.Expr) -> pl.Expr:
    """Ids without leading zeros, where they consist of digits.

    >>> pl.DataFrame({"id": ["0123", "123", "00", "a01"]}).select(without_zeros(pl.col("id"))).to_series().to_list()
    ['123', '123', '0', 'a01']
    """
    return pl.when(ids.str.contains(r"^\d+$")).then(ids.str.replace(ZEROS, "$1")).otherwise(ids)


def form_free(ids: pl.Expr) -> pl.Expr:
    """What ids have in common that one person's may be: in whatever case, and without leading zeros.

    >>> pl.DataFrame({"id": ["0123", "Ann1", " ANN1"]}).select(form_free(pl.col("id"))).to_series().to_list()
    ['123', 'ann1', 'ann1']
    """
    return without_zeros(id_text(ids)).str.to_lowercase()


def alike(ids: Iterable[str]) -> dict[str, str]:
    """The ids that differ from another of them by leading zeros or case alone, each with the shortest of those it resembles.

    >>> alike(["0123", "7", "123", "00123", "Ann1", "ANN1"])
    {'00123': '123', '0123': '123', 'Ann1': 'ANN1'}
    """
    table = pl.DataFrame({"id": sorted(set(ids))}, schema={"id": pl.String})
    table = table.with_columns(form_free(pl.col("id")).alias("plain"))
    several = table.filter(pl.len().over("plain") > 1).sort("plain", pl.col("id").str.len_bytes())
    shortest = several.with_columns(pl.col("id").first().over("plain").alias("shortest"))
    return dict(shortest.filter(pl.col("id") != pl.col("shortest")).select("id", "shortest").sort("id").rows())


def respelt(ids: pl.Series, others: pl.Series) -> list[tuple[str, str]]:
    """The ``ids`` that are none of the ``others`` but resemble one of them, each with that: leading zeros or case alone differ.

    >>> respelt(pl.Series(["10", "7", "ann", "8"]), pl.Series(["0010", "Ann", "7"]))
    [('10', '0010'), ('ann', 'Ann')]
    """
    known = pl.DataFrame({"other": others.unique()}).with_columns(form_free(pl.col("other")).alias("plain"))
    strange = pl.DataFrame({"id": ids.unique()}).filter(~pl.col("id").is_in(others.implode()))
    found = strange.with_columns(form_free(pl.col("id")).alias("plain")).join(known, on="plain")
    return found.select("id", "other").sort("id", "other").unique("id", keep="first", maintain_order=True).rows()


def one_person(stays: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """``stays`` with one ``subject_id`` for those that differ by leading zeros or case alone, and a warning of these.

    They may be two persons; but if they are one, a split between them would show a person's outcome to the model.
    """
    same = alike(stays["subject_id"].drop_nulls())
    return stays.with_columns(pl.col("subject_id").replace(same)), list(same_persons(same))


def same_persons(same: Mapping[str, str]) -> Iterator[str]:
    """The warning of ``one_person``; ``same`` is what ``ids.alike`` gives."""
    for one, other in list(same.items())[:1]:
        yield (
            f"subject_id '{one}' and '{other}' are taken as one person, as "
            f"{plural(len(same), 'id differs', 'ids differ')} from another by leading zeros "
            "or case alone; give persons ids that differ otherwise"
        )


def stated(name: str) -> pl.Expr:
    """Ids that are numbers; 0 and less, which some programs write where there is no id, are null.

    >>> pl.DataFrame({"stay_id": [7, 0, -1, None]}).select(stated("stay_id")).to_series().to_list()
    [7, None, None, None]
    """
    return pl.when(pl.col(name) > 0).then(name).alias(name)


def whole_number(name: str) -> pl.Expr:
    """A text column as whole numbers: ``12``, `` 12 ``, ``012`` and ``12.0`` are 12, and an empty field is null.

    Anything else fails the query, with Polars's error for a failed conversion (``raw_csv.unreadable`` makes a line of it).
    """
    rest = _rest(name)
    return pl.coalesce(_plain(name), pl.when(~may_say_nothing(rest)).then(rest).alias(name).cast(pl.Int64)).alias(name)


def unread_number(name: str) -> pl.Expr:
    """Whether the text column holds something that is not a whole number; false where it is empty."""
    rest = _rest(name)
    return rest.is_not_null() & ~may_say_nothing(rest) & rest.cast(pl.Int64, strict=False).is_null()


def _plain(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Int64, strict=False)


def _rest(name: str) -> pl.Expr:
    """The texts that are not a plain whole number, without blanks and ``.0``; null elsewhere."""
    return pl.when(_plain(name).is_null()).then(pl.col(name)).str.strip_chars().str.replace(FLOAT, "$1")


def is_true(flag: pl.Expr) -> pl.Expr:
    """Whether a text flag is set: ``1``, ``1.0``, ``01``, true, yes, t or y; false for anything else, and where it is empty.

    >>> pl.DataFrame({"flag": ["1", "1.0", " 01", "True", "0", "", None]}).select(is_true(pl.col("flag"))).to_series().to_list()
    [True, True, True, True, False, False, False]
    """
    text = flag.str.strip_chars().str.to_lowercase()
    return ((text.cast(pl.Float64, strict=False) == 1) | text.is_in(["true", "t", "yes", "y"])).fill_null(value=False)
