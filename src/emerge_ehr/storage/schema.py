"""Lists every artefact that passes between stages: its file, the stage that makes it, its columns, types and units.

Times are naive ``YYYY-MM-DD HH:MM:SS`` in the source's own (shifted) calendar. ``patient_id`` is the sample's id: for an
ICU task the ``stay_id``. Stages read and write these files through ``artefacts`` and ``table_files`` only.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "id", "sex", "number", "time"]
LARGEST = 1e12  # nothing larger is a measurement; its square, in deviations, is a number in single precision (3.4e38)

# Format numbers. Files written with another number are refused, and their stage has to be run again. Raise a number
TABLES_FORMAT = 4  # when convert would make other tables of the same raw files and settings
ARTEFACTS_FORMAT = (
    2  # when preprocess would make other arrays, records or splits of the same tables, graph and settings
)
MODEL_FORMAT = 2  # when an exported folder would be read differently
RUN_FORMAT = 5  # when a trained model's files would be read differently, or its weights mean something else


@dataclass(frozen=True)
class Column:
    """One column; an ``id`` is read by ``ids.id_text`` and a ``sex`` by ``sexes.known_sex``.

    ``low`` and ``high`` bound a number, ``choices`` lists the texts allowed, ``nullable`` allows empty fields.
    """

    name: str
    kind: Kind
    meaning: str
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table: a CSV ``file``, or, where ``parts`` names a folder, parquet parts in it instead.

    No two rows agree in all ``key`` columns. Columns that are not listed are kept as text.
    """

    file: str
    stage: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    parts: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)


PATIENT = Column("patient_id", "id", "the sample's id: stay_id of an ICU stay")
LABEL_CODE = Column("label_code", "text", "name of the outcome, e.g. mortality")

DYNAMIC = Table(
    "dynamic.csv",
    "convert",
    (
        PATIENT,
        Column("event_time", "time", "when it was measured, inside the observation window"),
        Column("code", "text", "canonical signal name (signals.py)"),
        Column("value", "number", "in the signal's canonical unit"),
    ),
    parts="dynamic",
)
STATIC = Table(
    "static.csv",
    "convert",
    (
        PATIENT,
        Column("age", "number", "years at ICU admission", nullable=True, low=0, high=120),
        Column("sex", "sex", "F or M, female or male", nullable=True, choices=("F", "M")),
    ),
    key=("patient_id",),
)
LABEL = Table(
    "label.csv",
    "convert",
    (
        PATIENT,
        Column("label_time", "time", "when the outcome was known"),
        LABEL_CODE,
        Column("label_value", "number", "0 or 1", low=0, high=1),
    ),
    key=("patient_id", "label_code"),
)
COHORT = Table(
    "cohort.csv",
    "convert",
    (
        PATIENT,
        Column("subject_id", "id", "the person; splits are grouped by it"),
        Column("hadm_id", "id", "the hospital admission"),
        Column("stay_id", "id", "the ICU stay"),
        Column("window_start", "time", "opening of the observation window (ICU admission)"),
        Column("window_end", "time", "its end, exclusive; nothing later enters the input"),
    ),
    key=("patient_id",),
)
NOTES = Table(
    "notes.csv",
    "convert",
    (
        PATIENT,
        Column("note_time", "time", "when it was written; empty if the source does not say", nullable=True),
        Column("note_type", "text", "the source's category; 'surrogate' where made from billing codes"),
        Column("text", "text", "the note; a row without a text is left out", nullable=True),
    ),
)
TABLES = (DYNAMIC, STATIC, LABEL, COHORT, NOTES)
TREATMENTS = Table(  # only with source.treatments
    "treatments.csv",
    "convert",
    (
        PATIENT,
        Column("start_time", "time", "when it began, inside the observation window"),
        Column(
            "end_time",
            "time",
            "when it ended, inside the window; empty if that was later or is not known",
            nullable=True,
        ),
        Column("drug", "text", "the source's name of what was given"),
        Column("route", "text", "as the source states it", nullable=True),
        Column(
            "dose",
            "text",
            "as the source states it: of a prescription the dose, of an infusion the rate",
            nullable=True,
        ),
        Column("kind", "text", "prescription or infusion", choices=("prescription", "infusion")),
    ),
)
EVERY_TABLE = (*TABLES, TREATMENTS)

PATIENTS = Table(
    "patients.csv",
    "preprocess",
    (
        PATIENT,
        Column("subject_id", "id", "the person; intervals are resampled by it"),
        Column("age", "number", "years at ICU admission", nullable=True, low=0, high=120),
        Column("sex", "sex", "F or M, female or male", nullable=True, choices=("F", "M")),
        Column("ethnicity", "text", "as the source states it; empty where it does not", nullable=True),
        Column("icu_type", "text", "the first care unit, as the source states it", nullable=True),
    ),
    key=("patient_id",),
)

DIED, HOURS_TO_END = (
    "died",
    "hours_to_end",
)  # more columns of patients.csv, for outcomes in time: how and when the stay ended
LANDMARK = (
    "landmark"  # one more column of patients.csv, with cohort.landmarks: the hour of the stay at which the sample is
)

SITE = "site"  # one more column of static.csv and patients.csv, where stays are of several hospitals: which of them

PREDICTIONS = Table(
    "predictions.csv",
    "train",
    (
        PATIENT,
        Column("split", "text", "val or test", choices=("val", "test")),
        LABEL_CODE,
        Column("y_true", "number", "the outcome, 0 or 1; empty where it is not defined", nullable=True, low=0, high=1),
        Column("y_prob", "number", "the risk", low=0, high=1),
    ),
    key=("patient_id", "label_code"),
)
# What train writes beside, where there is any: as PREDICTIONS, of the test split, by the plain method beside EMERGE and by the
# network without its experts; and, with cross-validation, patient_id, label_code, threshold of the fold that tested the sample
PLAIN_PREDICTIONS = "plain_predictions.csv"
NETWORK_PREDICTIONS = "network_predictions.csv"
JUDGED = "judged.csv"
COVERAGE = "coverage.csv"  # and, with calibration.coverage, how often sets hold the outcome, in all and by subgroup
SET = Column(
    "set",
    "text",
    "the outcomes that are possible at calibration.coverage: {0}, {1}, {0 1} (the model does not know) or {} (unlike both)",
    choices=("{0}", "{1}", "{0 1}", "{}"),
)
SETS = Table(  # with calibration.coverage
    "sets.csv",
    "train",
    (PATIENT, Column("split", "text", "test", choices=("test",)), LABEL_CODE, SET),
    key=("patient_id", "label_code"),
)
# train and evaluate, where the task brings prediction times: those of the test split, or of the persons that a run was evaluated
# on, in the schema of meds-evaluation; predict writes the like beside --output, without outcomes (``meds_predictions``)
MEDS_PREDICTIONS = "predictions.parquet"
SOME_RUN_FILES = (PLAIN_PREDICTIONS, NETWORK_PREDICTIONS, JUDGED, SETS.file, COVERAGE, MEDS_PREDICTIONS)
# written to the file that --output names, with SET where the run has calibration.coverage, and with one more column per modality
# that the run reads (CONTRIBUTION)
RISKS = Table(
    "risks.csv",
    "predict",
    (
        PATIENT,
        LABEL_CODE,
        Column("y_prob", "number", "the risk", low=0, high=1),
        Column("threshold", "number", "the run's decision threshold, chosen on its validation split", low=0),
        Column("above_threshold", "number", "1 where the risk reaches the threshold, else 0", low=0, high=1),
        Column(
            "lowest",
            "number",
            "the lowest risk by a member of the run (the risk itself where it has one)",
            low=0,
            high=1,
        ),
        Column("highest", "number", "the highest risk by a member", low=0, high=1),
    ),
    key=("patient_id", "label_code"),
)
EVALUATED = Table(  # in the folder that --output names
    "predictions.csv",
    "evaluate",
    (
        PATIENT,
        Column("subject_id", "id", "the person; intervals are resampled by it"),
        Column(
            "used",
            "text",
            "'evaluated', or 'recalibration' where the person was drawn to recalibrate",
            choices=("evaluated", "recalibration"),
        ),
        LABEL_CODE,
        Column("y_true", "number", "the outcome, 0 or 1; empty where it is not defined", nullable=True, low=0, high=1),
        Column("y_prob", "number", "the risk", low=0, high=1),
        Column(
            "y_recalibrated",
            "number",
            "the recalibrated risk; empty without --recalibrate",
            nullable=True,
            low=0,
            high=1,
        ),
    ),
    key=("patient_id", "label_code"),
)
EVALUATION, DRIFT, SUBGROUPS = "evaluation.json", "drift.csv", "subgroups.csv"  # evaluate: beside it, and
EVALUATION_PAGE = "evaluation.md"
# export: in the folder that --output names, beside config.json, metrics.json, checkpoints/ and FITTED
MODEL, CARD, GRAPH, DONORS = "model.json", "README.md", "graph", "donors.safetensors"
CANDIDATES = "candidates"  # in DONORS, beside the modalities
CONTRIBUTION = Column(
    "contribution_<modality>",
    "number",
    "the risk minus the risk without this modality, for each that the run's method reads; empty where the patient has none of it",
    nullable=True,
    low=-1,
    high=1,
)

PROVENANCE = "provenance.json"  # convert: cohort flow, counts of dropped values, warnings, input hashes

RAG_RECORDS = (
    "rag_records.csv"  # preprocess: a row per patient; its columns are the fields of ``rag.records_file.Record``
)
DATASET = "emerge_dataset.npz"  # preprocess: arrays of Dataset, float32, no pickles
NOTE_TOKENS = "note_tokens.npy"  # preprocess: float32 [N, C, D], memory-mapped by its readers
SUMMARY_TOKENS = "summary_tokens.npy"  # preprocess: the same of the summaries
METADATA = "metadata.json"  # preprocess: features, units, fitted statistics, encoders, cohort flow, warnings, hashes
SPLIT = "split.json"  # preprocess: train/val/test -> patient ids
FITTED = "fitted"  # preprocess: folder with what was fitted on the training split
REPORT = "report.html"  # report: in the run folder
EXPORTED = "model"  # with training.export, the folder of the run folder that holds what export writes
MANIFEST = "manifest.json"  # train: what the run depends on, and the checksums of its files
RUN_FILES = (  # train: in the run folder, beside checkpoints/
    MANIFEST,
    "config.json",
    "metrics.json",
    PREDICTIONS.file,
    SUBGROUPS,
    "history.csv",
    REPORT,
)
SEEDS_FILES = ("seeds.csv", "seeds.json")  # train with several seeds: beside a folder seed_<n> for each
