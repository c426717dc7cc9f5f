"""Ids and whole numbers as tables and raw files write them."""

import polars as pl
import pytest

from emerge_ehr.storage.ids import alike, id_text, one_person, whole_number

ODD = [" 12", "12 ", "12.0", "12.00", "12.", "\t12"]


def test_an_id_is_the_same_with_blanks_around_it_and_as_a_float() -> None:
    texts = [*ODD, "012", "P-1", "v1.0", "1.5", "10", "1.50", "", "  ", None]
    read = pl.DataFrame({"id": texts}, schema={"id": pl.String}).select(id_text(pl.col("id"))).to_series().to_list()
    assert read == ["12"] * 4 + ["12."] + ["12", "012", "P-1", "v1.0", "1.5", "10", "1.50", None, None, None]


def test_a_whole_number_may_also_have_leading_zeros() -> None:
    table = pl.DataFrame({"id": [*ODD, "0012", "+12", "12", "", " ", None, "-3", "-3.0"]}, schema={"id": pl.String})
    assert table.select(whole_number("id")).to_series().to_list() == [12] * 9 + [None] * 3 + [-3, -3]


@pytest.mark.parametrize("text", ["1.5", "1e3", "x", "1 2", "0x10", "9" * 30, "1,000", "--1"])
def test_anything_else_is_no_whole_number(text: str) -> None:
    rows = pl.LazyFrame({"itemid": ["1", text]})
    with pytest.raises(pl.exceptions.InvalidOperationError, match="to `i64` failed in column 'itemid'"):
        rows.select(whole_number("itemid")).collect(engine="streaming")


def test_ids_that_differ_by_leading_zeros_are_one_person_and_that_is_told() -> None:
    assert alike(["7", "0123", "123", "A01", "A1", "00"]) == {"0123": "123"}
    stays = pl.DataFrame({"subject_id": ["0123", "7", "123", "000123"]})
    table, warnings = one_person(stays)
    assert table["subject_id"].to_list() == ["123", "7", "123", "123"]
    assert len(warnings) == 1 and "'000123' and '123' are taken as one person" in warnings[0]
    assert one_person(stays.head(2))[1] == []
