"""What preprocessing fits on the training patients."""

import logging
import warnings

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from emerge_ehr.embeddings import tfidf_svd
from emerge_ehr.preprocess import fitted
from emerge_ehr.signals.hourly import Statistics

NOTES = ["fever and cough", "chest pain and fever", "cough, chest pain", "fever"] * 5


@pytest.mark.parametrize("summaries", [["The patient is in intensive care."] * 20, ["Well."] * 19 + ["Well, rarely."]])
def test_texts_that_are_all_alike_are_told_and_are_all_zero(
    summaries: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    encoders = {kind: tfidf_svd.build(tfidf_svd.Options(), seed=1, texts=kind) for kind in ("note", "summary")}
    one = Statistics(np.zeros(1), np.ones(1), np.ones(1, np.int64))
    cohort = pl.DataFrame({"age": [50] * 20})
    summaries = [f"{text} of care" for text in summaries]
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        made = fitted.fit(one, encoders, cohort, NOTES, summaries, np.array([True] * 19 + [False]))
    assert caplog.messages == ["the summaries of the 19 training patients are all alike: they tell a model nothing"]
    assert np.abs(made.summary.encode(summaries[:19])).max() < 1e-6
    assert np.ptp(made.note.encode(NOTES), axis=0).max() > 1


def test_a_summary_that_keeps_its_length_tells_how_much_it_says() -> None:
    """Against scikit-learn's own vectoriser and SVD."""
    words = ["sepsis", "asthma", "gout", "stroke", "cough", "fever"]
    draw = np.random.default_rng(0)
    texts = [" and ".join(draw.permutation(words)[: draw.integers(1, 6)]) for _ in range(60)]
    options = tfidf_svd.Options(width=4, keep_length=("summary",))
    note, summary = (tfidf_svd.build(options, seed=1, texts=kind).fit(texts) for kind in ("note", "summary"))
    recipe = {"ngram_range": (1, 2), "sublinear_tf": True, "min_df": 2, "token_pattern": tfidf_svd.TOKEN}
    unit, counts = (TfidfVectorizer(norm=norm, **recipe).fit_transform(texts) for norm in ("l2", None))
    components = TruncatedSVD(4, random_state=1).fit(unit).components_
    projected = counts @ components.T
    away = projected - projected.mean(axis=0)
    np.testing.assert_allclose(summary.encode(texts), away / np.sqrt(np.mean(away**2)), atol=1e-5)
    twice = [f"{text} with {text}" for text in texts]  # the same share of each word, nearly
    assert np.abs(summary.encode(twice)).mean() > 1.2 * np.abs(summary.encode(texts)).mean()
    assert np.abs(note.encode(twice)).mean() < 1.2 * np.abs(note.encode(texts)).mean()
    assert summary.description()["keeps_length"] is True and "keeps_length" not in note.description()


def test_terms_are_counted_as_scikit_learn_counts_them() -> None:
    """Words and pairs within and over the ends of sentences, in texts of all kinds, seen before or not."""
    draw = np.random.default_rng(0)
    parts = [
        "Sepsis",
        "sepsis",
        "CKD-3b",
        "patient's",
        "BP 90/60",
        "éclampsie",
        "",
        "-",
        "x.",
        "'tis",
        "q.d",
        "no.1",
        "a_b",
        "\u0130",
    ]
    joints = [" ", ". ", ".", "\n", ".. ", ".  ", "; "]
    texts = [
        "".join(part for word in draw.choice(parts, 12) for part in (word, draw.choice(joints))) for _ in range(300)
    ]
    fitted_encoder = tfidf_svd.build(tfidf_svd.Options(width=6), seed=1, texts="note").fit(texts[:200])
    assert isinstance(fitted_encoder, tfidf_svd.FittedTfidfSvd)
    recipe = {"ngram_range": (1, 2), "sublinear_tf": True, "min_df": 2, "token_pattern": tfidf_svd.TOKEN}
    vectoriser = TfidfVectorizer(**recipe).fit(texts[:200])
    projected = vectoriser.transform(texts) @ fitted_encoder.components.T
    away = projected / np.linalg.norm(projected, axis=1, keepdims=True) - fitted_encoder.centre
    for _ in range(2):
        np.testing.assert_allclose(fitted_encoder.encode(texts), away / fitted_encoder.scale, atol=1e-5)


def test_a_text_that_leaves_the_template_is_not_hundreds_of_standard_deviations_away() -> None:
    """Summaries that say nearly the same of each disease: what hardly differs among them is left out of the embedding."""
    draw = np.random.default_rng(0)
    told = {
        "pneumonia": "Infection of the air spaces of the lung",
        "gout": "Arthritis caused by crystals of uric acid in a joint",
        "stroke": "Sudden loss of brain function by a blocked or burst vessel",
        "septic shock": "A fall of arterial pressure in a bacterial infection of the blood",
    }
    signals = ["low systolic pressure", "high pulse", "low temperature", "high creatinine"]

    def summary() -> str:
        disease, own = str(draw.choice(list(told))), draw.permutation(signals)[: draw.integers(0, 4)]
        found = " ".join(f"Abnormally {one}: {draw.integers(10, 99)} at hour {draw.integers(48)}." for one in own)
        return (
            f"A patient of the ward, first 48 h of the stay. Present: {disease}. {found} History: hypertension. "
            f"{disease.capitalize()}: {told[disease]}. Hypertension: Arterial pressure that stays above the usual range."
        )

    texts = [summary() for _ in range(200)]
    encoder = tfidf_svd.build(tfidf_svd.Options(), seed=1, texts="summary").fit(texts)
    seen = encoder.encode(texts)
    assert seen.shape[1] > 8
    away = np.abs(
        (encoder.encode(["A patient of the ward, first 48 h of the stay."]) - seen.mean(axis=0)) / seen.std(axis=0)
    )
    assert away.max() < 2 * np.abs((seen - seen.mean(axis=0)) / seen.std(axis=0)).max()
