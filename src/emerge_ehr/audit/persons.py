"""Whether a sample (``patient_id``) or a person (``subject_id``) is in two splits."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import polars as pl

from emerge_ehr.audit.findings import Finding, judged
from emerge_ehr.fields import plural
from emerge_ehr.storage.ids import one_person


def check(cohort: pl.DataFrame, split: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Findings on the split: no sample and no person in two parts of it, and every sample in the cohort.

    ``cohort`` has ``patient_id`` and ``subject_id``; ``split`` lists the ``patient_id`` of train, val and test. Persons whose ids
    differ by leading zeros or case alone are one.
    """
    cohort, doubts = one_person(cohort)
    person = dict(cohort.select("patient_id", "subject_id").iter_rows())
    persons = {name: {person[patient] for patient in patients if patient in person} for name, patients in split.items()}
    sizes = ", ".join(f"{name} {len(patients)}" for name, patients in split.items())
    return [
        judged("no patient in two splits", _shared({name: set(ids) for name, ids in split.items()}), sizes),
        judged("no person in two splits", _shared(persons), f"{plural(len(set(person.values())), 'person')}"),
        judged("every patient of the splits is in the cohort", _lost(split, person), plural(len(person), "patient")),
        *(Finding("ids of persons", "warning", doubt) for doubt in doubts),
    ]


def _shared(groups: Mapping[str, set[str]]) -> str | None:
    for (first, first_members), (second, second_members) in combinations(groups.items(), 2):
        if both := sorted(first_members & second_members):
            return f"{len(both)} stand in {first} and {second}, such as '{both[0]}'"
    return None


def _lost(split: Mapping[str, Sequence[str]], person: Mapping[str, str]) -> str | None:
    lost = [patient for patients in split.values() for patient in patients if patient not in person]
    return f"{len(lost)} are not, such as '{lost[0]}'" if lost else None
