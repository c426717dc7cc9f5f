"""Times of FHIR: with a zone, and compared in UTC, so that a change to summer time moves no measurement."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

DATE_ALONE = len("2150-01-01")


class Span(NamedTuple):
    """A period. ``start``: None where it has no time of day; ``end``: that of the day, month or year where it is not exact."""

    start: datetime | None
    end: datetime | None
    backwards: bool


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


def span(period: Mapping[str, Any]) -> Span:
    """A period in UTC; a day is one of the clock that its other side goes by.

    >>> span({"start": "2150-06-01T08:00:00-05:00", "end": "2150-06-02"}).end
    datetime.datetime(2150, 6, 3, 5, 0)
    >>> span({"start": "2150-06-02", "end": "2150-06-01T08:00:00Z"}).backwards
    True
    """
    start, end = period.get("start"), period.get("end")
    zone = next((datetime.fromisoformat(str(text)).tzinfo for text in (start, end) if moment(text)), None)
    begun, over = moment(start) or _of_date(start, zone), moment(end) or _of_date(end, zone, last=True)
    backwards = begun is not None and over is not None and over < begun
    return Span(moment(start), over, backwards)


def _of_date(text: Any, zone: tzinfo | None, *, last: bool = False) -> datetime | None:
    """When a day, month or year begins; with ``last``, when it is over."""
    if not isinstance(text, str) or not 0 < len(text) <= DATE_ALONE:
        return None
    try:
        year, month, day = ([int(part) for part in text.split("-")] + [1, 1])[:3]
        date = datetime(year, month, day, tzinfo=zone or UTC)
        if last and len(text) == DATE_ALONE:
            date += timedelta(days=1)
        elif last:
            months = 1 if "-" in text else 12
            date = date.replace(year=year + (month - 1 + months) // 12, month=(month - 1 + months) % 12 + 1)
        return date.astimezone(UTC).replace(tzinfo=None)
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
