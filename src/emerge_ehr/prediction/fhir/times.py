"""Times of FHIR: with a zone, and compared in UTC, so that a change to summer time moves no measurement."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

DATE_ALONE = len("2150-01-01")


def moment(text: Any) -> datetime | None:
    """The moment in UTC, without its zone, as tables hold times; None for a date without a time of day, or for no date at all.

    >>> moment("2150-06-01T10:30:00+02:00"), moment("2150-06-01"), moment("2150-06-31T00:00:00Z")
    (datetime.datetime(2150, 6, 1, 8, 30), None, None)
    """
    if not isinstance(text, str) or len(text) <= DATE_ALONE:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def effective(observation: Mapping[str, Any]) -> datetime | None:
    """When an observation was known: its moment, or the end of its period, before which an average was not complete."""
    period = observation.get("effectivePeriod", {})
    text = observation.get("effectiveDateTime") or observation.get("effectiveInstant") or period.get("end")
    return moment(text) if text else None


def written(time: datetime) -> str:
    """A moment as FHIR writes it.

    >>> written(datetime(2150, 6, 1, 8, 30))
    '2150-06-01T08:30:00Z'
    """
    return f"{time.isoformat()}Z"
