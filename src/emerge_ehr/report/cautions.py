"""What a reader must know before reading the numbers of a report."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emerge_ehr.audit.audit import AUDIT
from emerge_ehr.datasets import wording
from emerge_ehr.report.material import Material
from emerge_ehr.report.wording import capitalised
from emerge_ehr.signals.signals import described
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.schema import METADATA
from emerge_ehr.training.inputs import label_warnings, rows_of

FEW = 30  # a test split with fewer patients of the rarer outcome gets a warning
FEW_TO_CHOOSE = 50  # likewise a validation split with fewer samples: epochs and thresholds are chosen on it
TOO_GOOD = 0.99  # an AUROC of deaths and admissions from records that nobody reaches without a leak or by chance


def warnings(material: Material) -> list[str]:
    """Leaks, outcomes of only one kind, few patients, results too good to be true, and failures."""
    if not material.has_patients:
        told = [*_too_good(material), *material.metrics.get("warnings", [])]
        return list(dict.fromkeys(capitalised(_labelled(text, material.metadata["features"])) for text in told))
    metadata, rag = material.metadata, material.metadata.get("rag", {})
    texts = [
        f"audit: {finding['check']}: {finding['detail']}"
        for finding in audit(material)
        if finding["verdict"] in ("failed", "warning")
    ]
    texts += _too_good(material)
    texts += _undertrained(material)
    texts += [*metadata.get("warnings", []), *material.metrics.get("warnings", [])]
    texts += label_warnings(material.trained.dataset, material.config.cohort)
    texts += _few(material)
    already_said = " ".join(texts)
    if names := [name for name in metadata.get("never_measured_in_training", []) if name not in already_said]:
        texts.append(f"never measured in any training patient: {', '.join(names)}")
    texts = [_labelled(text, metadata["features"]) for text in texts]
    for key, words in (
        ("entity_failures", "patients whose notes the entity extractor could not read"),
        ("summary_failures", "patients for whom the summariser gave nothing"),
        ("patients_with_unsupported_claims", "patients whose summary claims what their evidence does not support"),
    ):
        if rag.get(key):
            texts.append(f"{rag[key]} {words}")
    return list(dict.fromkeys(capitalised(text) for text in texts if text))


def of_design(material: Material) -> Iterator[str]:
    """Yield the limits that follow from what the run is: for whom and when it predicts, and how many outcomes tested it."""
    rule, main = material.config.cohort, material.metrics["splits"]["test"][material.main.code]
    word = wording.predicted(material.config).word
    hours = f" of at least {rule.min_stay_hours:g} hours" if rule.min_stay_hours else ""
    yield (
        f"It was made of {word}s{hours}, and predicts once for each, from {wording.window(rule)}: it says nothing of those who "
        "died or left before, or of any other time."
    )
    yield f"It was tested on {main['patients']} {word}s, of which {main['positives']} had the outcome."
    yield "No score of severity (SOFA, SAPS, APACHE) was computed to compare it with."


def _undertrained(material: Material) -> Iterator[str]:
    """Yield a warning if training was cut off while it still improved."""
    best = material.metrics.get("best_epoch_of_members") or [material.metrics.get("best_epoch")]
    last = [epoch for epoch in best if epoch == material.config.training.max_epochs]
    if 2 * len(last) > len(best):
        of_members = f" of {len(last)} of {len(best)} members" if len(best) > 1 else ""
        allowed = f"training.max_epochs = {last[0]}"
        yield f"the best epoch{of_members} is the last that was allowed ({allowed}): more epochs may do better"


def _too_good(material: Material) -> Iterator[str]:
    """Yield a warning per outcome whose AUROC in test looks like a leak, or like chance among few."""
    for label in material.labels:
        evaluated = material.metrics["splits"]["test"][label.code]
        auroc, positives = evaluated["metrics"]["auroc"]["value"], evaluated["positives"]
        few = min(positives, evaluated["patients"] - positives)
        if auroc is None or auroc < TOO_GOOD:
            continue
        why = (
            f"with {few} of the rarer outcome that is mostly chance"
            if few < FEW
            else "such outcomes are not predicted so well; look for an input that knows them (--stage audit --deep)"
        )
        yield f"AUROC of {label.title} in test is {auroc:.3f}, too good to be true: {why}"


def _few(material: Material) -> Iterator[str]:
    """Yield a warning if there are too few to choose by, and one per outcome that is too rare in the test split to trust its
    numbers, the chosen outcome first."""
    dataset = material.trained.dataset
    validation = len(dataset.split["val"])
    if validation < FEW_TO_CHOOSE and not material.metrics.get("folds"):
        chosen = "epochs and thresholds were chosen on them; [split] folds suits such a cohort better"
        yield f"validation split: it has only {validation}, and {chosen}"
    rows = rows_of(dataset, "test")
    values, mask = material.trained.reported.outcomes(dataset.label[rows], dataset.label_mask[rows])
    for label in sorted(material.labels, key=lambda other: other.code != material.main.code):
        known = int(mask[:, label.column].sum())
        few = min(positive := int((values * mask)[:, label.column].sum()), known - positive)
        if 0 < few < FEW:
            rarer = f"only {few} of {known} patients are of the rarer outcome"
            yield f"test split, {label.title}: {rarer}; read intervals, not points"


def _labelled(text: str, features: Sequence[Mapping[str, Any]]) -> str:
    """The text with the codes of signals replaced by their names."""
    for name in (feature["name"] for feature in features):
        text = re.sub(rf"\b{re.escape(name)}\b", described(name).label, text) if "_" in name else text
    return text


def audit(material: Material) -> list[dict[str, str]]:
    """The findings of ``--stage audit`` on the present artefacts; none if it was not run since they were made."""
    folder = material.config.processed_dir
    if not (folder / AUDIT).is_file():
        return []
    record = artefacts.read_json(folder / AUDIT, "audit")
    findings: list[dict[str, str]] = record["findings"]
    return findings if record["metadata"] == artefacts.checksum(folder / METADATA) else []
