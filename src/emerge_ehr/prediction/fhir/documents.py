"""DocumentReferences as notes: plain text that stands in the bundle, of the stay, and written before the window's end.

Discharge summaries and the like tell the outcome and are left out, whenever they are dated, as when tables are converted.
"""

import base64
import binascii
import codecs
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.message import Message
from typing import Any, NamedTuple

from emerge_ehr.datasets.sources._raw.note_files import DISCHARGE
from emerge_ehr.prediction.fhir.contents import Contents, Resource
from emerge_ehr.prediction.fhir.observations import LOINC, LeftOutError
from emerge_ehr.prediction.fhir.stays import Stay, whose
from emerge_ehr.prediction.fhir.times import moment
from emerge_ehr.prediction.requests import LONGEST_NOTE

CHARSETS = ("utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252")  # as Python calls them
# LOINC codes of what is written at or after a discharge or death: the discharge summaries of C-CDA's value set
# (2.16.840.1.113883.11.20.4.1), of an emergency department, the course of the stay, the diagnoses and instructions at discharge,
# a report of an autopsy, a certificate of death; DISCHARGE has the words
DISCHARGE_CODES = (
    *("18842-5", "11490-0", "28655-9", "29761-4", "34105-7", "34106-5", "34745-0", "57058-0"),
    *("59258-4", "28574-2", "8648-8", "11535-2", "8653-8", "18743-5", "64297-5"),
)
LONGEST_CONTENT_TYPE = 200  # characters
LONGEST_KIND = 200  # characters of a note's type, as in the service's own JSON


class Written(NamedTuple):
    """A note; ``time`` in UTC."""

    time: datetime
    kind: str
    text: str


def notes(contents: Contents, stays: Sequence[Stay]) -> list[list[Written]]:
    """The notes of each stay, in the order of the bundle; what is not read is counted in ``contents.left_out``.

    Raises:
        UserError: a text is too long.
    """
    found: list[list[Written]] = [[] for _ in stays]
    of_patient = {stay.patient: (stay, rows) for stay, rows in zip(stays, found, strict=True)}
    for document in contents.of_kind["DocumentReference"]:
        patient = contents.meant(document.content.get("subject"), document)
        for number, part in enumerate(document.content["content"]):
            try:
                if patient is None or patient not in of_patient:
                    raise LeftOutError(whose(patient))
                if _tells_the_outcome(document, part["attachment"]):
                    raise LeftOutError("a discharge summary or the like")
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
    references = content.get("context", {}).get("encounter", [])
    named = [contents.meant(reference, document) for reference in references]
    # one that names no encounter is of the stay if it was written during it
    of_stay = _of_stay(named, stay, contents) if named else time >= stay.admitted
    if not of_stay:
        raise LeftOutError("of another stay")
    if time >= stay.window_end:
        raise LeftOutError("after the window")
    return time


def _of_stay(named: Sequence[Resource | None], stay: Stay, contents: Contents) -> bool:
    """Whether one of the encounters is that of the stay, or the one that it is a part of, or a part of it."""
    whole = contents.meant(stay.encounter.content.get("partOf"), stay.encounter)
    return any(
        one is not None
        and (one in (stay.encounter, whole) or contents.meant(one.content.get("partOf"), one) is stay.encounter)
        for one in named
    )


def _tells_the_outcome(document: Resource, attachment: Mapping[str, Any]) -> bool:
    """Whether the note is one of those that ``convert`` leaves out because they are written at or after the end of the stay."""
    concepts = [document.content.get("type", {}), *document.content.get("category", [])]
    codings = [coding for concept in concepts for coding in concept.get("coding", [])]
    said = [one.get("text") for one in concepts] + [one.get("display") for one in codings] + [attachment.get("title")]
    coded = any(one.get("system") == LOINC and one.get("code") in DISCHARGE_CODES for one in codings)
    return coded or any(re.search(DISCHARGE, words) for words in said if words)


def _text(document: Resource, attachment: Mapping[str, Any], place: str) -> str:
    """The text of an attachment.

    Raises:
        LeftOutError: it is no plain text, or its bytes are not what its content type says.
        UserError: it is too long.
    """
    content_type = attachment.get("contentType", "")
    if len(content_type) > LONGEST_CONTENT_TYPE or content_type.partition(";")[0].strip().lower() != "text/plain":
        raise LeftOutError("not text/plain")
    if "data" not in attachment:
        raise LeftOutError("text not in the bundle")
    charset = _charset(content_type)
    try:
        text = base64.b64decode("".join(attachment["data"].split()), validate=True).decode(charset)
    except (binascii.Error, ValueError):  # which UnicodeDecodeError is
        raise LeftOutError(f"data not text in {charset} as base64") from None
    if len(text) > LONGEST_NOTE:
        raise document.mistake(f"{place}.data", f"longer than {LONGEST_NOTE} characters; send less of it")
    return text


def _charset(content_type: str) -> str:
    """The charset that a content type states, as Python calls it.

    >>> _charset('text/plain; charset="UTF8"; format=flowed'), _charset("text/plain;format=flowed")
    ('utf-8', 'utf-8')
    """
    message = Message()
    message["content-type"] = content_type
    try:
        charset = codecs.lookup(message.get_content_charset("utf-8")).name
    except (LookupError, ValueError):  # ValueError: a null character
        charset = ""
    if charset not in CHARSETS:
        raise LeftOutError(f"its charset is none of {', '.join(CHARSETS)}")
    return charset


def _kind(document: Resource) -> str:
    """What sort of note it is, in the hospital's words."""
    concept = document.content.get("type", {})
    shown = [coding["display"] for coding in concept.get("coding", []) if "display" in coding]
    return str(concept.get("text") or (shown[0] if shown else ""))[:LONGEST_KIND]
