"""Whether every array that a method reads is what the tables and the fitted encoders give, outcomes included."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.audit.deep.examined import Examined
from emerge_ehr.audit.findings import Finding, judged, told
from emerge_ehr.fields import plural

MOST_ENCODED = 500  # samples whose texts are embedded again: a language model takes a while for each
CLOSE = 1e-3  # encoders differ by less between machines and sizes of batches


def check(examined: Examined) -> Iterator[Finding]:
    """The findings on outcomes and on inputs."""
    dataset, tables = examined.dataset, examined.tables
    defined = np.array_equal(dataset.label_mask, tables.label_mask)
    other = np.flatnonzero((dataset.label != tables.label).any(axis=1))
    wrong = (
        None
        if defined and not len(other)
        else f"label or label_mask differs from label.csv for {plural(len(other), 'sample')}"
    )
    if len(other):
        wrong = f"{wrong}, such as '{dataset.patient_id[other[0]]}'"
    yield judged("outcomes are those of the tables", wrong, plural(len(dataset.label), "sample"))
    different = [name for name, same in _inputs(examined) if not same]
    wrong = f"{told(different)} differ from what the tables and a new fit give" if different else None
    yield judged(
        "inputs are those of the tables", wrong, "window length, age, sex, and the embeddings of notes and summaries"
    )


def _inputs(examined: Examined) -> Iterator[tuple[str, bool]]:
    dataset, refitted = examined.dataset, examined.refitted
    yield "ehr_length", np.array_equal(dataset.ehr_length, examined.tables.hourly.length)
    yield "static", _alike(dataset.static, refitted.static(examined.tables.cohort))
    rng = examined.generator("arrays")
    rows = np.sort(rng.permutation(len(dataset.patient_id))[:MOST_ENCODED])
    summaries = [record.summary for record in examined.records]
    for name, encoder, texts in (("note", refitted.note, examined.notes), ("summary", refitted.summary, summaries)):
        mask = np.array([bool(text) for text in texts])
        yield f"{name}_mask", np.array_equal(getattr(dataset, f"{name}_mask") > 0, mask)
        embedded = encoder.encode([texts[row] for row in rows])
        yield f"{name}_embedding", _alike(getattr(dataset, f"{name}_embedding")[rows], embedded)


def _alike(kept: NDArray[np.float32], anew: NDArray[np.float32]) -> bool:
    return kept.shape == anew.shape and np.allclose(kept, anew, atol=CLOSE)
