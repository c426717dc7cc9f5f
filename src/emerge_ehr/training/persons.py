"""Looks at the split once more before training: no person may be in two parts of it."""

import logging
from itertools import combinations
from pathlib import Path

import polars as pl

from emerge_ehr.fields import UserError
from emerge_ehr.storage.dataset import PARTS, Dataset, load_patients
from emerge_ehr.storage.ids import form_free
from emerge_ehr.storage.schema import COHORT, PATIENTS, SPLIT
from emerge_ehr.storage.table_files import read_table

logger = logging.getLogger(__name__)


def refuse_shared(folder: Path, dataset: Dataset, table_dir: Path) -> None:
    """Check the split in ``folder`` against patients.csv there, or else cohort.csv in ``table_dir``, whatever checksums say.

    Ids that differ in form alone (blanks, case, leading zeros, ``12.0``) are taken as one person's here: a person who is in
    training and in test under two forms makes every score too good. Without either file the log says that nothing was checked.

    Raises:
        UserError: a person is in two parts of the split.
    """
    patients = load_patients(folder, dataset.patient_id)
    table = PATIENTS
    if patients is None and (table_dir / COHORT.file).is_file():
        table = COHORT
        patients = read_table(table_dir, COHORT).filter(pl.col("patient_id").is_in(dataset.patient_id.tolist()))
    if patients is None or patients.height < len(dataset.patient_id):
        logger.warning(
            "%s: missing, so whether a person is in two parts of the split was not checked", folder / PATIENTS.file
        )
        return
    spelt = patients.select("patient_id", "subject_id", form_free(pl.col("subject_id")).alias("plain"))
    subject_of, plain = (
        dict(spelt.select("patient_id", "subject_id").rows()),
        dict(spelt.select("patient_id", "plain").rows()),
    )
    cross_validated = set(dataset.split["test"]) == set(subject_of)  # by the models of the folds
    parts = [part for part in PARTS if part != "test" or not cross_validated]
    subjects = {part: {plain[one]: subject_of[one] for one in dataset.split[part]} for part in parts}
    for first, second in combinations(parts, 2):
        if both := sorted(subjects[first].keys() & subjects[second].keys()):
            ids = dict.fromkeys(subjects[part][both[0]] for part in (first, second))
            form = "; ids that differ in form alone count as one" if len(ids) > 1 else ""
            raise UserError(
                f"{folder / SPLIT}: person {' or '.join(repr(name) for name in ids)} of {table.file} is in {first} and in "
                f"{second}, as are {len(both) - 1} more{form}; mend subject_id in the tables, and run --stage preprocess again"
            )
