"""FHIR bundles of patients whom the service's own JSON describes, as exporters of whole records write them: a transaction whose
entries name each other by urn:uuid."""

import base64
import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

SEARCHSET = Path(__file__).parent / "prediction" / "bundles" / "searchset.json"
UCUM, LOINC = "http://unitsofmeasure.org", "http://loinc.org"
# signal -> LOINC code and UCUM unit in which a chart has it
CHARTED = {
    "capillary_refill_rate": ("44963-7", "s"),
    "diastolic_blood_pressure": ("8462-4", "mm[Hg]"),
    "fraction_inspired_oxygen": ("3150-0", "1"),
    "gcs_eye": ("9267-6", "{score}"),
    "gcs_motor": ("9268-4", "{score}"),
    "gcs_total": ("9269-2", "{score}"),
    "gcs_verbal": ("9270-0", "{score}"),
    "glucose": ("2339-0", "mg/dL"),
    "heart_rate": ("8867-4", "/min"),
    "height": ("8302-2", "cm"),
    "mean_blood_pressure": ("8478-0", "mm[Hg]"),
    "oxygen_saturation": ("2708-6", "%"),
    "respiratory_rate": ("9279-1", "/min"),
    "systolic_blood_pressure": ("8480-6", "mm[Hg]"),
    "temperature": ("8310-5", "Cel"),
    "weight": ("29463-7", "kg"),
    "ph": ("2744-1", "[pH]"),
}
SECONDS = {0.0: 2.0, 1.0: 4.0}  # of a capillary refill that is normal, and of one that is delayed


def entry(resource: Mapping[str, Any], name: str) -> dict[str, Any]:
    url = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, name)}"
    request = {"method": "POST", "url": resource["resourceType"]}
    return {"fullUrl": url, "resource": dict(resource) | {"id": url.removeprefix("urn:uuid:")}, "request": request}


def zoned(time: str, hours: int) -> str:
    """A time that the own JSON has in UTC, on a clock that is so many hours ahead."""
    moment = datetime.fromisoformat(time) + timedelta(hours=hours)
    return f"{moment.isoformat()}{'+' if hours >= 0 else '-'}{abs(hours):02}:00"


def of_patient(patient: Mapping[str, Any], hours: int = 0) -> list[dict[str, Any]]:
    """The entries of a patient; ``hours``: how far the hospital's clock is ahead of UTC."""
    name = patient["patient_id"]
    born = datetime.fromisoformat(patient["window_start"])
    person = entry(
        {
            "resourceType": "Patient",
            "gender": {"F": "female", "M": "male"}[patient["sex"]],
            "birthDate": f"{born.year - int(patient['age'])}-{born:%m}-{born:%d}",
        },
        f"patient {name}",
    )
    person["resource"]["id"] = name
    subject = {"reference": person["fullUrl"]}
    stay = entry(
        {
            "resourceType": "Encounter",
            "status": "in-progress",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
            "subject": subject,
            "period": {"start": zoned(patient["window_start"], hours)},
        },
        f"stay {name}",
    )
    measured = [
        entry(
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": LOINC, "code": CHARTED[one["code"]][0]}]},
                "subject": subject,
                "encounter": {"reference": stay["fullUrl"]},
                "effectiveDateTime": zoned(one["time"], hours),
                "valueQuantity": quantity(one["code"], one["value"]),
            },
            f"observation {name} {n}",
        )
        for n, one in enumerate(patient["measurements"])
    ]
    written = [
        entry(
            {
                "resourceType": "DocumentReference",
                "status": "current",
                "type": {"text": one["type"]},
                "subject": subject,
                "date": zoned(one["time"], hours),
                "content": [
                    {
                        "attachment": {
                            "contentType": "text/plain",
                            "data": base64.b64encode(one["text"].encode()).decode(),
                        }
                    }
                ],
                "context": {"encounter": [{"reference": stay["fullUrl"]}]},
            },
            f"note {name} {n}",
        )
        for n, one in enumerate(patient["notes"])
    ]
    return [person, stay, *measured, *written]


def quantity(signal: str, value: float) -> dict[str, Any]:
    unit = CHARTED[signal][1]
    return {"value": SECONDS[value] if unit == "s" else value, "unit": unit, "system": UCUM, "code": unit}


def bundle(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def searchset() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SEARCHSET.read_text("utf-8"))
    return found


def resource(of: dict[str, Any], kind: str) -> dict[str, Any]:
    """The last resource of this kind."""
    return next(one["resource"] for one in reversed(of["entry"]) if one["resource"]["resourceType"] == kind)


def named(of: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one["resource"] for one in of["entry"] if one["resource"]["id"] == name)


def observation(loinc: str = "8867-4", **other: Any) -> dict[str, Any]:
    """One more heart rate of the patient in the search result, but for what is changed."""
    value = {"valueQuantity": {"value": 90, "system": UCUM, "code": "/min"}}
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": loinc}]},
        "subject": {"reference": "Patient/eq081-VQEgP8drUUqCWzHfw3"},
        "effectiveDateTime": "2150-03-01T15:00:00Z",
        **({} if any(key.startswith("value") for key in other) else value),
        **other,
    }


def of_unit(value: float, unit: str | None, system: str = UCUM) -> dict[str, Any]:
    return {"value": value, **({} if unit is None else {"system": system, "code": unit})}
