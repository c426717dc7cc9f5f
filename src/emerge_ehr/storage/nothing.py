"""The words that programs and people write where there is nothing, so that everything that reads a text knows the same ones."""

import polars as pl

# In any case. Of the second kind, each may also be one of several words that say something, as "none" of pain.
ALWAYS = ("", ".", "?", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "\\n")
PERHAPS = ("none", "missing", "unknown")
LONGEST = max(map(len, (*ALWAYS, *PERHAPS)))


def says_nothing(text: pl.Expr) -> pl.Expr:
    """Whether the text, without blanks around it, is nothing wherever it stands; null where there is no text."""
    return text.str.to_lowercase().is_in(ALWAYS)


def may_say_nothing(text: pl.Expr) -> pl.Expr:
    """Whether the text, without blanks around it, would be nothing among numbers or ids; false where there is no text.

    >>> texts = pl.DataFrame({"text": ["NA", "None", "N1", "7", "", None]})
    >>> texts.select(may_say_nothing(pl.col("text"))).to_series().to_list()
    [True, True, False, False, True, False]
    """
    short = pl.when(text.str.len_bytes() <= LONGEST).then(text)  # the texts of all rows would take long
    return short.str.to_lowercase().is_in((*ALWAYS, *PERHAPS)).fill_null(value=False)
