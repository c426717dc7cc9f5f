"""The deep audit: checks that take minutes, after those of the audit. Each is a module of this package."""

import logging
import time
from collections.abc import Callable, Iterable

from emerge_ehr.audit.deep import (
    arrays,
    chance,
    finished_run,
    note_copies,
    parts,
    planted,
    series_copies,
    swapped,
    words,
)
from emerge_ehr.audit.deep.examined import Examined
from emerge_ehr.audit.findings import Finding

CHECKS: tuple[Callable[[Examined], Finding | Iterable[Finding]], ...] = (
    planted.check,
    arrays.check,
    chance.check,
    swapped.check,
    parts.check,
    series_copies.check,
    note_copies.check,
    words.check,
    finished_run.check,
)

log = logging.getLogger(__name__)


def check(examined: Examined) -> list[Finding]:
    """All findings, in the order of ``CHECKS``."""
    findings: list[Finding] = []
    for each in CHECKS:
        began = time.perf_counter()
        found = each(examined)
        findings += [found] if isinstance(found, Finding) else found
        log.info(
            "deep audit: %s in %.1f s",
            each.__module__.rpartition(".")[2].replace("_", " "),
            time.perf_counter() - began,
        )
    return findings
