"""What preprocessing fits on the training patients."""

import logging
import warnings

import numpy as np
import polars as pl
import pytest

from emerge_ehr.embeddings import tfidf_svd
from emerge_ehr.preprocess import fitted
from emerge_ehr.signals.hourly import Statistics

NOTES = ["fever and cough", "chest pain and fever", "cough, chest pain", "fever"] * 5


@pytest.mark.parametrize("summaries", [["The patient is in intensive care."] * 20, ["Well."] * 19 + ["Well, rarely."]])
def test_texts_that_are_all_alike_are_told_and_are_all_zero(
    summaries: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    encoder = tfidf_svd.TfidfSvd(tfidf_svd.Options(), 1)
    one = Statistics(np.zeros(1), np.ones(1), np.ones(1, np.int64))
    cohort = pl.DataFrame({"age": [50] * 20})
    summaries = [f"{text} of care" for text in summaries]
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        made = fitted.fit(one, encoder, cohort, NOTES, summaries, np.array([True] * 19 + [False]))
    assert caplog.messages == ["the summaries of the 19 training patients are all alike: they tell a model nothing"]
    assert np.abs(made.summary.encode(summaries[:19])).max() < 1e-6
    assert np.ptp(made.note.encode(NOTES), axis=0).max() > 1
