"""Equality with plain references written from the equations, one patient and one hour at a time."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emerge_ehr.models import input_table, linear_classifier, window_statistics
from emerge_ehr.models.baselines import (
    Sizes,
    gradient_boosting,
    gru_d,
    logistic_regression,
    m3care,
    mpim,
    retain,
    vecocare,
)
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.patient_memory import PatientMemory
from tests.models.baselines.conftest import fit_on_tables

SIZES = Sizes(hours=8, features=3, note_width=5, summary_width=4, labels=2)


def gru_step(gru: torch.nn.GRU, value: Tensor, state: Tensor) -> Tensor:
    reset_in, update_in, new_in = (gru.weight_ih_l0 @ value + gru.bias_ih_l0).chunk(3)
    reset_state, update_state, new_state = (gru.weight_hh_l0 @ state + gru.bias_hh_l0).chunk(3)
    reset, update = torch.sigmoid(reset_in + reset_state), torch.sigmoid(update_in + update_state)
    return (1 - update) * torch.tanh(new_in + reset * new_state) + update * state


@torch.no_grad()
def test_gru_d_follows_its_equations(train: Batch) -> None:
    torch.manual_seed(0)
    model = gru_d.build(gru_d.Options(hidden_size=4), sizes=SIZES, seed=0).eval()
    model.input_decay.uniform_(0.1, 0.5)
    w_r, w_z, w = model.from_input.weight.chunk(3)
    b_r, b_z, b = model.from_input.bias.chunk(3)
    u_r, u_z = model.gates.weight.chunk(2)
    found = model.states(train)
    for row in range(5):
        state, delta, last = torch.zeros(4), torch.zeros(3), torch.zeros(3)
        for hour in range(int(train.ehr_length[row])):
            mask = train.ehr_mask[row, hour]
            if hour:
                delta = 1 + torch.where(train.ehr_mask[row, hour - 1] > 0, 0, delta)
            x = train.ehr[row, hour] * mask
            gamma_x = torch.exp(-torch.clamp(model.input_decay * delta + model.input_decay_bias, min=0))
            gamma_h = torch.exp(-torch.clamp(model.state_decay.weight @ delta + model.state_decay.bias, min=0))
            imputed = mask * x + (1 - mask) * gamma_x * last  # the training mean is 0
            last = torch.where(mask > 0, x, last)
            state, given = gamma_h * state, torch.cat([imputed, mask])
            reset, update = (
                torch.sigmoid(w_r @ given + u_r @ state + b_r),
                torch.sigmoid(w_z @ given + u_z @ state + b_z),
            )
            new = torch.tanh(w @ given + model.candidate.weight @ (reset * state) + b)
            state = (1 - update) * state + update * new
            torch.testing.assert_close(found[row, hour], state)


@torch.no_grad()
def test_gru_d_forgets_a_stale_value_towards_the_training_mean() -> None:
    mask = torch.tensor([[[1.0], [0.0], [0.0], [1.0], [0.0]]])
    assert gru_d.hours_since_measured(mask).flatten().tolist() == [0, 1, 2, 3, 1]


@torch.no_grad()
def test_retain_follows_its_equations(train: Batch) -> None:
    torch.manual_seed(0)
    model = retain.build(retain.Options(hidden_size=4), sizes=SIZES, seed=0).eval()
    found = model(train)
    for row in range(5):
        length = int(train.ehr_length[row])
        visits = [
            model.embedding.weight @ torch.cat([train.ehr[row, hour], train.ehr_mask[row, hour]])
            for hour in range(length)
        ]
        g, h = torch.zeros(4), torch.zeros(4)
        scores, betas = [0.0] * length, [torch.zeros(4)] * length
        for hour in reversed(range(length)):
            g, h = gru_step(model.alpha_gru, visits[hour], g), gru_step(model.beta_gru, visits[hour], h)
            scores[hour] = float(model.alpha.weight[0] @ g)
            betas[hour] = torch.tanh(model.beta.weight @ h + model.beta.bias)
        total = sum(math.exp(score) for score in scores)
        context = torch.zeros(4)
        for score, beta, visit in zip(scores, betas, visits, strict=True):
            context += math.exp(score) / total * beta * visit
        torch.testing.assert_close(found[row], model.head.weight @ context + model.head.bias)


@torch.no_grad()
def test_retains_contributions_add_up_to_its_logits(train: Batch) -> None:
    torch.manual_seed(0)
    model = retain.build(retain.Options(hidden_size=4), sizes=SIZES, seed=0).eval()
    parts = model.contributions(train)
    assert parts.shape == (240, 8, 6, 2)
    torch.testing.assert_close(parts.sum(dim=(1, 2)) + model.head.bias, model(train))
    outside = torch.arange(8) >= train.ehr_length[:, None]
    assert not parts[outside].any()


@torch.no_grad()
def test_time_attention_is_a_softmax_over_the_measured_hours(train: Batch) -> None:
    torch.manual_seed(0)
    part = mpim.TimeAttention(channels=3, width=4, time_size=6, heads=2)
    found = part(train.ehr, train.ehr_mask)
    time = torch.linspace(0, 1, 8)[:, None]
    embedding = torch.cat([part.linear(time), torch.sin(part.periodic(time))], dim=1)
    query, key = part.query(embedding), part.key(embedding)
    for row in range(4):
        for hour in range(8):
            means = []
            for head in (slice(0, 3), slice(3, 6)):
                for channel in range(3):
                    measured = [k for k in range(8) if train.ehr_mask[row, k, channel] > 0]
                    score = [math.exp(float(query[hour, head] @ key[k, head]) / math.sqrt(3)) for k in measured]
                    values = [float(train.ehr[row, k, channel]) for k in measured]
                    means.append(np.average(values, weights=score) if measured else 0.0)
            expected = part.output.weight @ torch.tensor(means, dtype=torch.float32) + part.output.bias
            torch.testing.assert_close(found[row, hour], expected)


@torch.no_grad()
def test_m3cares_similarity_and_neighbourhood_follow_their_equations() -> None:
    torch.manual_seed(0)
    part, graph = m3care.Similarity(modalities=2, width=3, threshold=0.27), m3care.Neighbourhood(3)
    for parameter in part.networks.parameters():
        parameter.normal_()
    hidden, present = torch.randn(6, 2, 3), torch.tensor([[1.0, 1], [1, 0], [1, 1], [1, 1], [1, 0], [1, 1]])
    patients = m3care.Patients(hidden * present[..., None], present)
    found = part(patients, patients).fill_diagonal_(0)
    expected = torch.zeros(6, 6)
    for i in range(6):
        for j in range(6):
            kernels = []
            for m in range(2):
                having = [a for a in range(6) if present[a, m] > 0]

                def kernel(vectors: Tensor, having: list[int] = having, i: int = i, j: int = j) -> Tensor:
                    pairs = [((vectors[a] - vectors[b]) ** 2).sum() for a in having for b in having if a != b]
                    width = torch.stack(pairs).mean()
                    distance = ((vectors[i] - vectors[j]) ** 2).sum()
                    return torch.stack([torch.exp(-distance / (width * scale)) for scale in (0.5, 1.0, 2.0)]).mean()

                if i in having and j in having:
                    share = torch.sigmoid(part.mixing[m])
                    vectors = patients.hidden[:, m]
                    kernels.append(((1 - share) * kernel(part.networks[m](vectors)) + share) * kernel(vectors))
            score = torch.stack(kernels).mean()
            expected[i, j] = score if i != j and score > torch.sigmoid(part.threshold) else 0
    assert 0 < (expected > 0).sum() < 30
    torch.testing.assert_close(found, expected)
    has, vectors = present[:, 1], patients.hidden[:, 1]
    inner, outer = torch.zeros(6, 3), torch.zeros(6, 3)
    for source, target, linear in ((vectors, inner, graph.first), (inner, outer, graph.second)):
        for i in range(6):
            weights = expected[i] * has
            if weights.sum() > 0:
                target[i] = (weights @ linear(source) / weights.sum()).clamp(min=0)
    torch.testing.assert_close(graph(found, found, vectors, has), outer)


@torch.no_grad()
def test_m3care_predicts_for_one_patient_from_remembered_neighbours_not_from_the_batch(train: Batch) -> None:
    torch.manual_seed(0)
    model = m3care.build(m3care.Options(hidden_size=8, memory=50, texts=("note", "summary")), sizes=SIZES, seed=0)
    lacking = train.select(torch.where(train.note_mask == 0)[0][:3])
    empty = model.eval()(lacking)
    model.train()(train)
    assert model.memory.filled.all()
    filled = model.eval()(lacking)
    assert (filled != empty).all()
    assert torch.equal(model(lacking), filled)


@torch.no_grad()
def test_vecocare_retrieves_the_notes_of_similar_and_of_dissimilar_patients() -> None:
    torch.manual_seed(0)
    model = vecocare.build(vecocare.Options(hidden_size=4, heads=2, memory=5), sizes=SIZES, seed=0).eval()
    visit = torch.randn(2, 4)
    assert not torch.cat(model.retrieve(visit)).any()
    stays, notes, has = torch.randn(4, 4), torch.randn(4, 4), torch.tensor([[1.0], [0], [1], [1]])
    model.memory.remember(torch.cat([stays, notes, has], dim=1))
    similar, dissimilar = model.retrieve(visit)
    for row in range(2):
        for sign, found in ((1, similar), (-1, dissimilar)):
            weights = [math.exp(sign * float(visit[row] @ stays[other])) if has[other] else 0 for other in range(4)]
            expected = sign * sum((weight * notes[other] for other, weight in enumerate(weights)), torch.zeros(4))
            torch.testing.assert_close(found[row], expected / sum(weights))


def test_the_memory_keeps_the_latest_patients() -> None:
    memory = PatientMemory(5, 1)
    for start in (0, 3, 6):
        memory.remember(torch.arange(start, start + 3.0)[:, None])
    assert sorted(memory.vectors.flatten().tolist()) == [4, 5, 6, 7, 8]
    memory.remember(torch.arange(20.0, 32)[:, None])
    assert sorted(memory.vectors.flatten().tolist()) == [27, 28, 29, 30, 31]


def test_window_statistics_equal_a_loop_over_patients(train: Batch) -> None:
    value, measured = train.ehr.double().numpy(), train.ehr_mask.numpy() > 0
    measured[0, :, 2], measured[1, :, 2] = False, np.arange(8) == 3
    found = window_statistics.statistics(torch.from_numpy(value), torch.from_numpy(measured)).numpy().reshape(240, 8, 3)
    for row in range(240):
        for feature in range(3):
            hours = np.flatnonzero(measured[row, :, feature])
            x = value[row, hours, feature]
            slope = np.polyfit(hours, x, 1)[0] if len(hours) > 1 else np.nan
            expected = [x.mean(), x.std(), x.min(), x.max(), x[0], x[-1]] if len(x) else [np.nan] * 6
            np.testing.assert_allclose(found[row, :, feature], [*expected, slope, len(x)], atol=1e-12)


def test_logistic_regression_equals_scikit_learns_pipeline(train: Batch, validation: Batch) -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    plug = logistic_regression.build(logistic_regression.Options(strengths=(0.1,)), sizes=SIZES, seed=0)
    fit_on_tables(plug, train, validation)
    table, unseen = (input_table.of_batch(patients, ["ehr"]) for patients in (train, validation))
    for column in range(2):
        # The plug's scale is that of the known values, so each step is taken on them before the gaps are filled.
        rows = train.label_mask[:, column].numpy() > 0
        scaler = StandardScaler().fit(table)
        model = make_pipeline(
            SimpleImputer(strategy="constant", fill_value=0.0), LogisticRegression(C=0.1, max_iter=2000)
        )
        model.fit(scaler.transform(table)[rows], train.label[:, column].numpy()[rows])
        expected = model.decision_function(scaler.transform(unseen))
        np.testing.assert_allclose(plug.logits(unseen)[:, column].numpy(), expected, atol=1e-4)


def test_the_sparse_regression_of_all_inputs_is_the_one_that_minimises_its_objective(
    train: Batch, validation: Batch
) -> None:
    """Compared with scikit-learn's other solver, which does not penalise the intercept and takes other steps."""
    from sklearn.linear_model import LogisticRegression

    chosen = logistic_regression.Options(modalities=("summary", "note", "ehr"), penalty="l1", strengths=(0.05,))
    plug = logistic_regression.build(chosen, sizes=SIZES, seed=0)
    fit_on_tables(plug, train, validation)
    embeddings = ((train.note_embedding, train.note_mask), (train.summary_embedding, train.summary_mask))
    texts = [
        torch.cat([torch.where(mask[:, None] > 0, text, torch.nan), mask[:, None]], 1) for text, mask in embeddings
    ]
    table = np.concatenate([input_table.of_batch(train, ["ehr"]), *(text.double().numpy() for text in texts)], axis=1)
    deviation = np.nanstd(table, axis=0)
    scaled = np.nan_to_num((table - np.nanmean(table, axis=0)) / np.where(deviation > 1e-8, deviation, 1))
    model = LogisticRegression(C=0.05, l1_ratio=1, solver="saga", max_iter=20000, tol=1e-8)
    model.fit(scaled, train.label[:, 0].numpy())
    # the plug's solver penalises the intercept a little
    np.testing.assert_allclose(plug.fitted.coefficients[0], model.coef_[0], atol=0.03)
    assert ((plug.fitted.coefficients[0] != 0) == (model.coef_[0] != 0)).all()
    kept = int((plug.fitted.coefficients[0] != 0).sum())
    assert 0 < kept < table.shape[1] / 2 and table.shape[1] == 8 * 3 + 5 + 1 + 4 + 1


def test_the_penalty_is_the_one_of_lowest_validation_loss(train: Batch, validation: Batch) -> None:
    table, unseen = (input_table.of_batch(patients, ["ehr"]) for patients in (train, validation))
    strengths = (1e-4, 1e-2, 1.0, 1e3)
    losses = []
    for strength in strengths:
        logit = linear_classifier.fit(train, table, validation, unseen, (strength,)).logits(unseen)[:, 0]
        truth = validation.label[:, 0].double().numpy()
        losses.append(-np.mean(np.log(np.where(truth > 0, 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(logit))))))
    chosen = linear_classifier.fit(train, table, validation, unseen, strengths)
    best = linear_classifier.fit(train, table, validation, unseen, (strengths[int(np.argmin(losses))],))
    np.testing.assert_array_equal(chosen.coefficients[0], best.coefficients[0])
    assert len(set(losses)) == 4


def test_trees_do_not_depend_on_the_number_of_threads_but_on_the_seed(
    train: Batch, validation: Batch, tmp_path: Path
) -> None:
    from threadpoolctl import threadpool_limits

    written = []
    for number, (threads, seed) in enumerate(((1, 0), (2, 0), (1, 1))):
        with threadpool_limits(limits=threads):
            plug = gradient_boosting.build(gradient_boosting.Options(rounds=5), sizes=SIZES, seed=seed)
            fit_on_tables(plug, train, validation)
        (tmp_path / str(number)).mkdir()
        plug.save(tmp_path / str(number))
        written.append((tmp_path / str(number) / "trees_0.txt").read_text().partition("\nparameters:")[0])
    assert written[0] == written[1] != written[2]
