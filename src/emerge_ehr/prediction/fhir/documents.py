"""DocumentReferences as notes: plain text that stands in the bundle, of the stay, and written before the window's end."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from emerge_ehr.prediction.fhir.contents import Contents, Resource
from emerge_ehr.prediction.fhir.observations import LeftOutError
from emerge_ehr.prediction.fhir.stays import Stay
from emerge_ehr.prediction.fhir.times import moment
from emerge_ehr.prediction.requests import LONGEST_NOTE

CHARSETS = {"utf-8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "latin-1", "windows-1252": "cp1252"}
LONGEST_KIND = 200  # characters of a note's type, as in the service's own JSON


class Written(NamedTuple):
    """A note; ``time`` in UTC."""

    time: datetime
    kind: str
    text: str


def notes(contents: Contents, stays: Sequence[Stay]) -> list[list[Written]]:
    """The notes of each stay, in the order of the bundle; what is not read is counted in ``contents.left_out``.

    Raises:
        UserError: a text is too long, or its bytes are not what its content type says.
    """
    found: list[list[Written]] = [[] for _ in stays]
    of_patient = {stay.patient: (stay, rows) for stay, rows in zip(stays, found, strict=True)}
    for document in contents.of_kind["DocumentReference"]:
        patient = contents.meant(document.content.get("subject"))
        for number, part in enumerate(document.content["content"]):
            try:
                if patient is None or patient not in of_patient:
                    raise LeftOutError("of no patient of the bundle")
                stay, rows = of_patient[patient]
                time = _time(document, part["attachment"], stay, contents)
                text = _text(document, part["attachment"], f"content[{number}].attachment")
            except LeftOutError as reason:
                contents.left_out[f"DocumentReference: {reason}"] += 1
            else:
                rows.append(Written(time, _kind(document), text))
    return found


def _time(document: Resource, attachment: Mapping[str, Any], stay: Stay, contents: Contents) -> datetime:
    """When the note was written, where it is one of the stay and of its window."""
    content = document.content
    for key, valid in (("status", ("current",)), ("docStatus", (None, "final", "amended"))):
        if (status := content.get(key)) not in valid:
            raise LeftOutError(f"{key} {status}")
    stated = content.get("date") or attachment.get("creation")
    time = moment(stated) if stated else None
    if time is None:
        raise LeftOutError("no time of day")
    named = [contents.meant(reference) for reference in content.get("context", {}).get("encounter", [])]
    # one that names no encounter is of the stay if it was written during it
    of_stay = _of_stay(named, stay, contents) if named else time >= stay.admitted
    if not of_stay:
        raise LeftOutError("of another stay")
    if time >= stay.window_end:
        raise LeftOutError("after the window")
    return time


def _of_stay(named: Sequence[Resource | None], stay: Stay, contents: Contents) -> bool:
    """Whether one of the encounters is that of the stay, or the one that it is a part of, or a part of it."""
    whole = contents.meant(stay.encounter.content.get("partOf"))
    return any(
        one is not None
        and (one in (stay.encounter, whole) or contents.meant(one.content.get("partOf")) is stay.encounter)
        for one in named
    )


def _text(document: Resource, attachment: Mapping[str, Any], place: str) -> str:
    """The text of an attachment.

    Raises:
        UserError: it is too long, or its bytes are not what its content type says.
    """
    kind, _, parameters = attachment.get("contentType", "").partition(";")
    if kind.strip().lower() != "text/plain":
        raise LeftOutError("not text/plain")
    if "data" not in attachment:
        raise LeftOutError("text not in the bundle")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"') or "utf-8"
    if charset not in CHARSETS:
        raise document.mistake(f"{place}.contentType", f"its charset is none of {', '.join(CHARSETS)}")
    try:
        text = base64.b64decode("".join(attachment["data"].split()), validate=True).decode(CHARSETS[charset])
    except (binascii.Error, ValueError):  # which UnicodeDecodeError is
        raise document.mistake(f"{place}.data", f"not text in {charset} as base64") from None
    if len(text) > LONGEST_NOTE:
        raise document.mistake(f"{place}.data", f"longer than {LONGEST_NOTE} characters; send less of it")
    return text


def _kind(document: Resource) -> str:
    """What sort of note it is, in the hospital's words."""
    concept = document.content.get("type", {})
    shown = [coding["display"] for coding in concept.get("coding", []) if "display" in coding]
    return str(concept.get("text") or (shown[0] if shown else ""))[:LONGEST_KIND]
