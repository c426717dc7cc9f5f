"""Bundles on disk for ``--stage predict``: a JSON file, or a folder of them, with any number of patients."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

from emerge_ehr.fields import UserError
from emerge_ehr.prediction import requests
from emerge_ehr.prediction.fhir import patients
from emerge_ehr.preprocess.inputs.new_patients import Expected
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.storage import artefacts, schema


def are_bundles(place: Path) -> bool:
    """Whether ``place`` is a JSON file, or a folder of such files and of no tables."""
    if place.is_file():
        return place.suffix == ".json"
    tables = (schema.COHORT.file, schema.STATIC.file, schema.DYNAMIC.file, schema.DYNAMIC.parts, schema.PROVENANCE)
    return any(place.glob("*.json")) and not any((place / name).exists() for name in tables)


def read(place: Path, run: Expected) -> CheckedTables:
    """The patients of the bundle in ``place``, or of all bundles there, in the order of their files' names.

    Raises:
        UserError: a file is not a bundle of FHIR R4, a patient stands in two of them, or the patients do not fit the run.
    """
    people: dict[str, requests.Patient] = {}
    home: dict[str, Path] = {}
    left_out, warnings = Counter[str](), list[str]()
    for file in [place] if place.is_file() else sorted(place.glob("*.json")):
        found = _of_file(file, run)
        for patient in found.patients:
            if (name := patient.patient_id) in people:
                raise UserError(
                    f"{file}: Patient/{name} is in {home[name]} too; send a patient's resources in one bundle"
                )
            people[name], home[name] = patient, file
        left_out.update(found.left_out)
        warnings += [f"{file.name}: {warning}" for warning in found.warnings]
    told = patients.Read([], dict(sorted(left_out.items())), [], warnings).lines()
    try:
        made = requests.tables(requests.Asked.model_construct(patients=list(people.values())), run)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    return dataclasses.replace(made, warnings=[*told, *made.warnings])


def _of_file(file: Path, run: Expected) -> patients.Read:
    try:
        with artefacts.naming(file):
            bundle = json.loads(file.read_bytes())
        if not isinstance(bundle, dict):
            raise UserError("not a JSON object; write a FHIR bundle")
        return patients.read(bundle, run)
    except RecursionError:
        raise UserError(f"{file}: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{file}: not JSON in UTF-8 ({artefacts.first_line(error)})") from None
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
