"""Words of the notes that tell the outcome, each with when it is written."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.audit.deep.examined import LEAST, TOO_FEW, Examined, Label
from emerge_ehr.audit.findings import MOST_TOLD, Finding, Verdict, of_labels

Array = NDArray[np.float64]
CHECK = "words that tell the outcome"
CONCLUSIVE = 10.0  # a likelihood ratio above which a sign is called conclusive (Jaeschke et al. 1994, JAMA 271:703)
STATED = 2.0  # is enough for words that state a death: said of a relative, they are as frequent in both classes
STATING = frozenset(
    ["expired", "deceased", "died", "death", "dying", "autopsy", "morgue", "pronounced", "postmortem", "comfort", "cmo"]
)
WORD = r"(?u)\b[^\W\d_]{3,}\b"


class Word(NamedTuple):
    """A word, how many times as often (at least, by the 95 % limit for that many words) one class has it, and which class."""

    text: str
    ratio: float
    positive: bool


def check(examined: Examined) -> Finding:
    """The finding on the words of the notes of training samples."""
    return of_labels(CHECK, (_of_label(examined, label) for label in examined.labels), TOO_FEW)


def _of_label(examined: Examined, label: Label) -> tuple[str, str, Verdict]:
    words = ranked([examined.notes[row] for row in label.train], examined.outcome(label, label.train))
    telling = [word for word in words if tells(word)]
    if telling:
        named = "; ".join(_named(examined, label, word) for word in telling[:MOST_TOLD])
        more = f" and {len(telling) - MOST_TOLD} more" if len(telling) > MOST_TOLD else ""
        return label.name, f"{named}{more}: a note that says it was written by somebody who knew", "warning"
    if not words:
        return label.name, f"no word stands in the notes of {LEAST} training samples", "passed"
    first = "; ".join(_named(examined, label, word) for word in words[:MOST_TOLD])
    return label.name, f"none of {len(words)}; most associated: {first}", "passed"


def tells(word: Word) -> bool:
    """Whether having the word is conclusive, or states a death and goes with it."""
    return word.ratio >= (STATED if word.text in STATING and word.positive else CONCLUSIVE)


def ranked(notes: Sequence[str], label: Array) -> list[Word]:
    """The words that at least ``LEAST`` of the notes hold, by the lower limit of their likelihood ratio, highest first.

    Of the notes that hold a word, the share of those with the outcome has an exact limit (Clopper & Pearson 1934), at 5 % for all
    words together (Bonferroni); for words that state a death, which are few and known before, at 5 % for these.
    """
    from scipy.stats import beta
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(binary=True, min_df=min(LEAST, len(notes)), token_pattern=WORD)
    try:
        present = counter.fit_transform(notes)
    except ValueError:  # no word is in so many notes
        return []
    names = counter.get_feature_names_out()
    level = np.where(np.isin(names, list(STATING)), 0.025 / len(STATING), 0.025 / len(names))
    having, lacking = (np.asarray(present[label == value].sum(axis=0)).ravel().astype(np.float64) for value in (1, 0))
    odds = label.sum() / (1 - label).sum()
    positive = having > odds * lacking
    more, fewer = np.where(positive, having, lacking), np.where(positive, lacking, having)
    share = beta.ppf(level, np.maximum(more, 1e-9), fewer + 1)
    least = share / (1 - share) / np.where(positive, odds, 1 / odds)
    order = np.lexsort((names, -least))
    return [Word(str(names[n]), float(least[n]), bool(positive[n])) for n in order]


def _named(examined: Examined, label: Label, word: Word) -> str:
    side = "with" if word.positive else "without"
    strength = f" at least {word.ratio:.0f} times as often" if word.ratio >= STATED else ""
    return f"'{word.text}'{strength} {side} it ({', '.join(_when(examined, label, word.text))})"


def _when(examined: Examined, label: Label, word: str) -> Iterator[str]:
    """Where the word stands in the notes of training samples, and how long before the window's end."""
    patients = examined.of_patients().filter(pl.col("n").is_in(label.train.tolist()))
    notes = examined.tables.notes.filter(pl.col("text").str.contains(rf"(?i)\b{re.escape(word)}\b"))
    notes = notes.join(patients, on="patient_id")
    kinds = notes.group_by("note_type").len().sort("len", "note_type", descending=[True, False])
    if kinds.height:
        yield f"{kinds['len'][0]} of {notes.height} in {kinds['note_type'][0]}"
    before = (notes["window_end"] - notes["note_time"]).dt.total_minutes().median()
    if isinstance(before, int | float):
        yield f"median {before / 60:.0f} h before the window's end"
