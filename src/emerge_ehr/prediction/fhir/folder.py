"""Bundles on disk for ``--stage predict``: a JSON file, or a folder of them, with any number of patients."""

import dataclasses
from collections import Counter
from pathlib import Path

from emerge_ehr.fields import UserError
from emerge_ehr.prediction import requests
from emerge_ehr.prediction.fhir import patients
from emerge_ehr.prediction.fhir.patients import NoPatientError
from emerge_ehr.prediction.fhir.stays import NoStayError
from emerge_ehr.preprocess.inputs.new_patients import Expected
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.storage import artefacts, schema

BUNDLE, LINES = ".json", ".ndjson"
FILES = (BUNDLE, LINES, ".jsonl", ".xml", ".txt", ".gz", ".zip")  # what a user may take for a file of FHIR resources
TAKEN = f"--tables takes a folder of tables, or a FHIR bundle of R4 as a file '{BUNDLE}' or a folder of such files"
TABLES = (schema.COHORT.file, schema.STATIC.file, schema.DYNAMIC.file, schema.DYNAMIC.parts, schema.PROVENANCE)
BEGINNING = 2**20  # bytes
TOLD = 10  # bundles passed over that are told one by one
SOME = 20  # files of a folder within, of which one at least is a bundle


def are_bundles(place: Path) -> bool:
    """Whether ``place`` is a JSON file, or a folder of such files and of no tables.

    Raises:
        UserError: it is a file of another kind, or a folder of tables and bundles, or one whose bundles are not read.
    """
    kind = place.suffix.lower()
    if place.is_file() and kind != BUNDLE:
        raise UserError(f"{place}: '{kind or place.name}' is not read; {TAKEN}")
    if not place.exists() and kind in FILES:
        raise UserError(f"{place}: no such file; {TAKEN}")
    if not place.is_dir():
        return place.is_file()
    tables = [name for name in TABLES if (place / name).exists()]
    if not tables and not _files(place):
        _refuse_bundles_elsewhere(place)
    if tables and (bundle := next(filter(_is_fhir, _files(place)), None)):
        raise UserError(
            f"{place}: holds tables ({tables[0]}) and a FHIR bundle ({bundle.name}); put them into folders of their own"
        )
    return bool(_files(place)) and not tables


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == BUNDLE and file.is_file())


def _is_fhir(file: Path) -> bool:
    """Whether a JSON file holds resources of FHIR, by its beginning: it may be long, or no JSON at all."""
    with artefacts.naming(file), file.open("rb") as opened:
        return b'"resourceType"' in opened.read(BEGINNING)


def _refuse_bundles_elsewhere(folder: Path) -> None:
    """Refuse a folder without tables whose resources of FHIR are in a form, or at a place, where they are not read."""
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() == LINES:
            raise UserError(f"{folder}: holds FHIR resources as '{LINES}' ({file.name}), which is not read; {TAKEN}")
        if file.is_dir() and any(map(_is_fhir, _files(file)[:SOME])):
            raise UserError(
                f"{folder}: its FHIR bundles are in the folder '{file.name}' within; name that with --tables"
            )


def read(place: Path, run: Expected) -> CheckedTables:
    """The patients of the bundle in ``place``, or of all bundles there, in the order of their files' names.

    Raises:
        UserError: a file is not a bundle of FHIR R4, a patient stands in two of them, nobody can be predicted for, or the
            patients do not fit the run.
    """
    people: dict[str, requests.Patient] = {}
    home: dict[str, Path] = {}
    left_out, warnings, lacking = Counter[str](), _others(place), list[UserError]()
    for file in [place] if place.is_file() else _files(place):
        try:
            found = _of_file(file, run)
        except (NoPatientError, NoStayError) as error:
            lacking.append(UserError(f"{file}: {error}"))
            if len(lacking) <= TOLD:
                warnings.append(f"{file.name}: passed over: {error}")
            continue
        for patient in found.patients:
            if (name := patient.patient_id) in people:
                raise UserError(
                    f"{file}: Patient/{name} is in {home[name]} too; send a patient's resources in one bundle"
                )
            people[name], home[name] = patient, file
        left_out.update(found.left_out)
        warnings += [f"{file.name}: {warning}" for warning in found.warnings]
    if not people:
        raise lacking[0]
    if len(lacking) > TOLD:
        warnings.append(
            f"{len(lacking) - TOLD} more bundles are passed over, having no Patient or no stay to predict for"
        )
    told = patients.Read([], dict(sorted(left_out.items())), [], warnings).lines()
    try:
        made = requests.tables(requests.Asked.model_construct(patients=list(people.values())), run)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    return dataclasses.replace(made, warnings=[*told, *made.warnings])


def _others(place: Path) -> list[str]:
    """What to tell of the files and folders in ``place`` that are not read."""
    if place.is_file():
        return []
    names = sorted(file.name for file in place.iterdir() if not file.name.startswith("."))
    read_ = {file.name for file in _files(place)}
    others = [name for name in names if name not in read_]
    return [f"{len(others)} other files or folders of {place} are not read, such as {others[0]}"] if others else []


def _of_file(file: Path, run: Expected) -> patients.Read:
    with artefacts.naming(file):
        content = file.read_bytes()
    try:
        bundle = requests.parsed(content, "the file")
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    try:
        if not isinstance(bundle, dict):
            raise UserError("not a JSON object; write a FHIR bundle")
        return patients.read(bundle, run)
    except (NoPatientError, NoStayError):
        raise
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
