"""Plain methods averaged with the network: their weights, and that every later stage uses them."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from emerge_ehr.config import Config
from emerge_ehr.fields import Component, UserError
from emerge_ehr.models import absence, input_table
from emerge_ehr.models.batch import MODALITIES, Batch
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import devices, experts, inputs, loop, members, methods, patients, train, trained
from tests.training.conftest import small_config

Prepare = Callable[..., Config]


def with_experts(config: Config, *names: str, count: int = 3) -> Config:
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, experts=names),
        training=dataclasses.replace(config.training, members=count),
    )


def test_the_weights_are_those_of_a_regression_on_out_of_fold_logits_and_none_is_negative() -> None:
    generator = np.random.default_rng(0)
    signal = generator.normal(size=800)
    label = (generator.random(800) < 1 / (1 + np.exp(-1.5 * signal))).astype(float)
    good, fair, wrong = signal + generator.normal(size=(3, 800)) * [[0.5], [1.0], [1.0]]
    logits = np.stack([good, fair], axis=1)
    found = experts._weights(logits, label)
    fitted = LogisticRegression(C=1e9).fit(logits, label)
    np.testing.assert_allclose(found, [*fitted.coef_[0], fitted.intercept_[0]], atol=0.05)
    found = experts._weights(np.stack([good, -wrong], axis=1), label)
    assert found[0] > 0.5 and found[1] == 0
    few = experts._weights(
        np.array([[3.0, 1.0], [-2.0, -1.0]]), np.array([1.0, 0.0])
    )  # which a weight of any size separates
    assert (few[:2] > 0.4).all() and (few[:2] < 0.8).all()


def test_the_risk_is_the_weighted_sum_and_a_loaded_run_gives_the_same(prepared: Prepare) -> None:
    config = with_experts(prepared(patients=100), "gradient_boosting", "logistic_regression")
    train.run(config)
    run, dataset = trained.load(config.run_dir), load_dataset(config.processed_dir)
    rows = pl.read_csv(config.run_dir / "predictions.csv")
    told = {name: rows.filter(pl.col("split") == name)["y_prob"].to_numpy() for name in ("val", "test")}
    batches = {name: inputs.mapped(dataset, name).whole() for name in ("train", "val", "test")}
    np.testing.assert_allclose(run.probability(batches["test"])[:, 0], told["test"], atol=1e-6)
    evaluated = json.loads((config.run_dir / "metrics.json").read_text())
    weights = evaluated["experts"]["mortality"]

    def each(batch: Batch) -> np.ndarray:
        """The logits [members,N], patient by patient."""
        has = absence.has(batch, MODALITIES).tolist()
        kept = [tuple(itertools.compress(MODALITIES, row)) for row in has]
        assert set(kept) == {("ehr", "note", "summary"), ("ehr", "summary")}
        found = np.zeros((len(run.members), len(kept)))
        for m, (network, beside) in enumerate(zip(run.members, run.experts, strict=True)):
            of_network = loop.predict(network, batch, 32)  # type: ignore[arg-type]
            for n, names in enumerate(kept):
                own = weights["+".join(names)]
                assert set(own) == {"gradient_boosting", "intercept", "logistic_regression", "network"}
                table = input_table.of_batch(batch.select(torch.tensor([n])), names)
                of_experts = beside.fitted[experts.choices(list(MODALITIES)).index(names)]
                found[m, n] = own["intercept"] + own["network"] * float(of_network[n, 0])
                found[m, n] += sum(own[name] * float(expert.logits(table)) for name, expert in of_experts.items())
        return found

    np.testing.assert_allclose(1 / (1 + np.exp(-each(batches["test"]).mean(axis=0))), told["test"], atol=1e-5)
    # a validation patient is judged by the member, network and experts, that was not trained on that patient
    ids = [*dataset.split["train"], *dataset.split["val"]]
    label = torch.cat([batches["train"].label, batches["val"].label])[:, 0].numpy()
    fold = members.folds(ids, label, 3, config.seed)[len(dataset.split["train"]) :]
    own = each(batches["val"])[fold, np.arange(len(fold))]
    np.testing.assert_allclose(1 / (1 + np.exp(-own)), told["val"], atol=1e-5)
    alone = evaluated["network_alone"]["splits"]["test"]["mortality"]["auroc"]
    assert alone["first"] == evaluated["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"]


def test_who_lacks_something_has_weights_of_patients_made_to_lack_it_too(prepared: Prepare) -> None:
    config = with_experts(prepared(patients=200, max_epochs=2), "logistic_regression", count=2)
    train.run(config)
    run, dataset = trained.load(config.run_dir), load_dataset(config.processed_dir)
    parts = [inputs.mapped(dataset, name) for name in ("train", "val")]
    both = patients.joined(*parts).whole()
    ids = [*dataset.split["train"], *dataset.split["val"]]
    fold = members.folds(ids, both.label[:, 0].numpy(), 2, config.seed)
    told = json.loads((config.run_dir / "metrics.json").read_text())["experts"]["mortality"]
    assert set(told) == {
        *("nothing", "ehr", "note", "summary", "ehr+note", "ehr+summary", "note+summary", "ehr+note+summary")
    }
    for choice, kept in enumerate(experts.choices(list(MODALITIES))):
        weights = told["+".join(kept) or "nothing"]
        logits, label = [], []
        for number, (network, own) in enumerate(zip(run.members, run.experts, strict=True)):
            able = absence.has(both, MODALITIES)[:, [name in kept for name in MODALITIES]].all(dim=1).numpy()
            whom = both.select(torch.from_numpy(np.flatnonzero(able & (fold == number))))
            whom = absence.without(whom, [name for name in MODALITIES if name not in kept])
            each = [loop.predict(network, whom, 32)]  # type: ignore[arg-type]
            if kept:  # an expert of its own, which is the baseline on these modalities
                chosen = Component("logistic_regression", {"modalities": list(kept), "penalty": "l1"})
                alone = dataclasses.replace(config, baseline=chosen)
                table = input_table.of_batch(whom, kept)
                each.append(own.fitted[choice]["logistic_regression"].logits(table))
                team = members.divided(parts[0], parts[1], ids, 2, config.seed)
                of_baseline = methods.fit(alone, dataset, team[number], devices.fabric(config.training), {})
                torch.testing.assert_close(of_baseline.logits(whom), each[1])
            logits.append(torch.cat(each, dim=1))
            label.append(whom.label[:, 0])
        expected = experts._weights(torch.cat(logits).double().numpy(), torch.cat(label).double().numpy())
        found = [weights[name] for name in ("network", "logistic_regression", "intercept") if kept or "_" not in name]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert told["nothing"] != told["ehr"] != told["ehr+note+summary"]


def test_one_member_has_its_experts_beside_its_checkpoints(prepared: Prepare) -> None:
    config = with_experts(prepared(patients=100), "gradient_boosting", count=1)
    train.run(config)
    run = trained.load(config.run_dir)
    batch = inputs.mapped(load_dataset(config.processed_dir), "test").whole()
    rows = pl.read_csv(config.run_dir / "predictions.csv").filter(pl.col("split") == "test")
    np.testing.assert_allclose(run.probability(batch)[:, 0], rows["y_prob"].to_numpy(), atol=1e-6)


def of_nothing(weights: str) -> str:
    return json.dumps({"nothing": json.loads(weights)})


DAMAGE: dict[str, tuple[str, Callable[[str], str], str]] = {
    "no choices": ("weights.json", lambda _: "[]", "does not name choices"),
    "other choices": ("weights.json", lambda _: '{"nothing": [[1.0, 0.0]], "x": []}', "does not name choices"),
    "nested": ("weights.json", lambda _: "[" * 100_000, ""),
    "few weights": ("weights.json", lambda _: of_nothing("[[1.0]]"), "does not hold a weight for network and experts"),
    "no number": ("weights.json", lambda _: of_nothing("[[NaN, 0.0]]"), "a number that is no weight"),
    "infinite": ("weights.json", lambda _: of_nothing("[[1.0, Infinity]]"), "a number that is no weight"),
    "negative": ("weights.json", lambda _: of_nothing("[[-0.1, 0.0]]"), "a weight below 0"),
    "texts": ("weights.json", lambda _: of_nothing('[["a", "b"]]'), "could not convert"),
    "trees of another choice": (
        "ehr+note+summary/gradient_boosting/trees_0.txt",
        lambda path: Path(path.replace("ehr+note+summary", "note")).read_text(),
        "trees of 6 columns",
    ),
    "priors of nobody": ("ehr/gradient_boosting/priors.json", lambda _: "[]", "does not fit"),
    "priors that are no numbers": ("ehr/gradient_boosting/priors.json", lambda _: "[NaN]", "finite log-odds"),
}


@pytest.fixture(scope="module")
def files_of_experts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """A run of one member with trees, in the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("damaged"))
        config = with_experts(small_config(100), "gradient_boosting", count=1)
        train.run(config)
        yield config


@pytest.mark.parametrize("kind", DAMAGE)
def test_files_of_experts_that_do_not_fit_are_refused(files_of_experts: Config, kind: str) -> None:
    """As after somebody has forged the manifest's checksums too: else those tell it."""
    config = files_of_experts
    name, change, message = DAMAGE[kind]
    path = config.run_dir / "checkpoints" / "experts" / name
    before, dataset = path.read_text(), load_dataset(config.processed_dir)
    path.write_text(change(str(path)))
    try:
        with pytest.raises(UserError, match=f"does not hold the experts of this run .*{message}"):
            trained._experts(config, dataset, config.run_dir / "checkpoints")
        with pytest.raises(UserError, match=r"changed|differs|not as"):
            trained.load(config.run_dir)
    finally:
        path.write_text(before)


def test_a_modality_that_nobody_had_in_training_tells_nothing(
    prepared: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    config = with_experts(
        prepared(patients=100, note_mask=np.zeros(100, np.float32)), "gradient_boosting", "logistic_regression"
    )
    train.run(config)
    run = trained.load(config.run_dir)
    told = json.loads((config.run_dir / "metrics.json").read_text())["experts"]["mortality"]
    assert set(told) == {"nothing", "ehr", "summary", "ehr+summary"}
    batch = inputs.mapped(run.dataset, "test").whole()
    with_note = dataclasses.replace(batch, note_mask=torch.ones_like(batch.note_mask))
    (alike,) = run.experts[0].read(with_note, 64)
    assert experts.choices(list(MODALITIES))[alike.choice] == ("ehr", "summary")
    table = input_table.of_batch(batch, ["ehr", "summary"])
    np.testing.assert_array_equal(alike.table, table)
    np.testing.assert_array_equal(run.probability(with_note), run.probability(batch))
    assert run.experts[0].unseen == ("note",) and "has note: not read" in caplog.text


def test_patients_of_one_class_only_decide_no_weight() -> None:
    logits = np.random.default_rng(0).normal(-3, 0.1, size=(50, 2))
    np.testing.assert_array_equal(experts._weights(logits, np.zeros(50)), [0.5, 0.5, 0.0])
