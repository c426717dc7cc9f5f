import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import donors, ordinary, what_if
from emerge_ehr.training import inputs
from emerge_ehr.training.trained import Trained, load

from .test_what_if import asked, told_of


def three(trained: Trained) -> Batch:
    return inputs.mapped(trained.dataset, "train").whole().select(torch.tensor([2, 5, 11]))


@pytest.mark.parametrize("method", ["emerge", "token_level", "gru_d", "gradient_boosting"])
def test_several_modalities_at_once_and_known_logits_change_no_risk_by_a_bit(
    run_of: Callable[[str], Path], method: str
) -> None:
    trained = load(run_of(method))
    fitted, batch, told = asked(trained)
    together = donors.without_modalities(trained, batch, dict.fromkeys(trained.reads, three(trained)))
    assert list(together) == list(trained.reads)
    for name in trained.reads:
        alone = donors.without_modalities(trained, batch, {name: three(trained)})
        assert together[name].tolist() == alone[name].tolist()
    courses, own = ordinary.of(trained), trained.of_members(batch)
    assert told_of(what_if.without_diseases(trained, fitted, batch, told, own)) == told_of(
        what_if.without_diseases(trained, fitted, batch, told)
    )
    assert told_of(what_if.without_signals(trained, fitted, batch, told, courses, own)) == told_of(
        what_if.without_signals(trained, fitted, batch, told, courses)
    )


@pytest.mark.parametrize("method", ["emerge", "token_level", "gru_d", "gradient_boosting"])
@pytest.mark.parametrize("name", ["ehr", "note", "summary"])
def test_the_risk_without_a_modality_is_the_mean_over_those_of_training_patients(
    run_of: Callable[[str], Path], method: str, name: str
) -> None:
    trained = load(run_of(method))
    batch, others = inputs.mapped(trained.dataset, "test").whole(), three(trained)
    found = donors.without_modalities(trained, batch, {name: others})[name]
    fields = {"ehr": ("ehr", "ehr_mask", "ehr_length"), "note": (), "summary": ()}[name] or (
        f"{name}_embedding",
        f"{name}_mask",
        f"{name}_tokens",
        f"{name}_tokens_mask",
    )
    for n in range(0, len(batch), 7):
        row = batch.select(torch.tensor([n]))
        risks = [
            trained.probability(
                dataclasses.replace(row, **{field: getattr(others, field)[d : d + 1] for field in fields})
            )[0]
            for d in range(3)
        ]
        np.testing.assert_allclose(found[n], np.mean(risks, axis=0), atol=1e-6)


def test_donors_are_training_patients_and_the_same_each_time(emerge: Trained) -> None:
    train = inputs.mapped(emerge.dataset, "train").whole()
    first, again = donors.of(emerge), donors.of(emerge)
    assert tuple(first) == emerge.reads
    for name in first:
        assert torch.equal(first[name].ehr, again[name].ehr) and len(first[name]) == donors.number(emerge)
        assert all((train.ehr == one).all(dim=(1, 2)).any() for one in first[name].ehr)


def test_donors_stand_for_all_training_patients_better_than_four_times_as_many_at_random(emerge: Trained) -> None:
    test, train = (inputs.mapped(emerge.dataset, name).whole() for name in ("test", "train"))
    of_all = donors.lent(emerge, test, dict.fromkeys(emerge.reads, train))
    found = donors.without_modalities(emerge, test, donors.of(emerge))
    draw = np.random.default_rng(0)
    for name, risks in of_all.items():
        true = risks.mean(axis=1)
        few = [draw.permutation(len(train))[: 4 * donors.DONORS] for _ in range(100)]
        at_random = np.mean([np.square(risks[:, rows].mean(axis=1) - true).mean() for rows in few])
        assert np.square(found[name] - true).mean() < at_random, name


def test_as_many_donors_as_there_are_candidates_at_most() -> None:
    risks = np.array([[[0.2], [0.1]]])
    assert donors.typical(risks, 4).tolist() == [0, 1]


def test_of_many_outcomes_the_donor_is_typical_in_all_of_them() -> None:
    """The mean log-odds of all three are alike, but the second is the mean in each outcome."""
    risks = np.array([[[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]]])
    assert donors.typical(risks, 1).tolist() == [1]
