"""Says how many questions have no usable answer, for which reasons, and what to change."""

from collections import Counter
from collections.abc import Iterable

from emerge_ehr.fields import UserError
from emerge_ehr.llm.answers import ADVICE

KEPT = "the answers so far are kept: run again to go on"


def told(reasons: Iterable[str]) -> str:
    """The reasons with their numbers, the most frequent first.

    >>> told(["cut off", "empty", "cut off"])
    'cut off 2, empty 1'
    """
    return ", ".join(f"{reason} {count}" for reason, count in Counter(reasons).most_common())


def share(reasons: list[str], questions: int) -> str:
    """The number and share of the questions without a usable answer.

    >>> share(["cut off"], 8)
    '1 of 8 questions (12.5 %) have no usable answer: cut off 1'
    """
    percent = f"{100 * len(reasons) / questions:.3g} %"
    return f"{len(reasons)} of {questions} questions ({percent}) have no usable answer: {told(reasons)}"


def in_a_row(count: int, reason: str, last: str) -> UserError:
    """The end of a run whose model answers nothing of use."""
    return UserError(f"{count} answers in a row cannot be used ({reason}; the last: {last}): {ADVICE[reason]}; {KEPT}")


def refuse_many(topic: str, reasons: list[str], questions: int, most: float) -> None:
    """Refuse more failures than the share ``most``.

    Raises:
        UserError: there are more.
    """
    if not questions or len(reasons) <= most * questions:
        return
    (reason, _), *_ = Counter(reasons).most_common()
    advice = ADVICE.get(reason, "look at the endpoint and its log")
    raise UserError(
        f"{topic}: {share(reasons, questions)}, more than llm.max_failures = {most:g}; {advice}; or set llm.max_failures or "
        f"llm.fallback_to_rules; {KEPT}"
    )
