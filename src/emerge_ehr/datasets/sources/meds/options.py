"""The options of the source ``meds``: patterns of codes, and which of them match nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from emerge_ehr.datasets.sources.meds.codes import Coded
from emerge_ehr.datasets.sources.meds.files import Patterns, Shards

STAY_KINDS = (
    "hospital_admission",
    "hospital_discharge",
    "icu_admission",
    "icu_discharge",
    "death",
    "birth",
    "gender",
    "ethnicity",
)


@dataclass(frozen=True)
class Options:
    """Patterns of codes, in which ``*`` stands for any text.

    ``signals``: signal -> its codes, each a pattern or ``{code, unit}``; signals may be those of ``signals.py`` or others.
    ``planned``: admissions that were planned. ``died``: discharges because of death, in upper or lower case. ``notes``: codes
    whose ``text_value`` is a note; the text that ``*`` stands for is the note's type, and discharge summaries are left out.
    ``admission_id``: the column of the admission's id; "" where there is none, as in the export of eICU, whose column names the
    hospital. ``midnight``: what a time at midnight is; "date": a date without a time, "time": as in exports that set every first
    admission to midnight and count the other times from it.
    """

    signals: Mapping[str, tuple[str | Coded, ...]]
    hospital_admission: Patterns = ("HOSPITAL_ADMISSION//*",)
    hospital_discharge: Patterns = ("HOSPITAL_DISCHARGE//*",)
    planned: Patterns = ("HOSPITAL_ADMISSION//ELECTIVE*", "HOSPITAL_ADMISSION//SURGICAL SAME DAY ADMISSION*")
    died: Patterns = tuple(f"HOSPITAL_DISCHARGE//*{word}*" for word in ("DIED", "DEAD", "DECEASED", "EXPIRED"))
    icu_admission: Patterns = ("ICU_ADMISSION//*",)
    icu_discharge: Patterns = ("ICU_DISCHARGE//*",)
    death: Patterns = ("MEDS_DEATH",)
    birth: Patterns = ("MEDS_BIRTH",)
    gender: Patterns = ("GENDER//*",)
    ethnicity: Patterns = ("RACE//*",)
    diagnoses_icd9: Patterns = ("DIAGNOSIS//ICD//9//*",)
    diagnoses_icd10: Patterns = ("DIAGNOSIS//ICD//10//*",)
    notes: Patterns = ()
    admission_id: str = "hadm_id"
    midnight: Literal["date", "time"] = "date"

    def entries(self) -> list[tuple[str, Coded]]:
        """Each signal with one of its codes."""
        return [
            (signal, Coded(entry) if isinstance(entry, str) else entry)
            for signal, entries in self.signals.items()
            for entry in entries
        ]

    def patterns(self, kind: str) -> Patterns:
        """The patterns of the option ``kind``."""
        patterns: Patterns = getattr(self, kind)
        return patterns

    def wanted(self, kinds: Sequence[str]) -> list[tuple[str, str]]:
        """The patterns of all signals and of the ``kinds``, each with the name of what it stands for."""
        wanted = [(signal, entry.code) for signal, entry in self.entries()]
        return wanted + [(kind, pattern) for kind in kinds for pattern in self.patterns(kind)]


def unmatched(options: Options, shards: Shards, kinds: Sequence[str] = (*STAY_KINDS, "died", "notes")) -> list[str]:
    """A warning that lists the patterns which match no code; of a kind's defaults, only where none matches."""
    missing = [(name, pattern) for name, pattern in options.wanted(kinds) if shards.matching((pattern,)).is_empty()]
    defaults = Options(signals={})
    usual = [
        (kind, pattern)
        for kind in kinds
        if options.patterns(kind) == defaults.patterns(kind) and not shards.matching(options.patterns(kind)).is_empty()
        for pattern in options.patterns(kind)
    ]
    told = [f"{name}: {pattern}" for name, pattern in missing if (name, pattern) not in usual]
    return [f"patterns of [source] that match no code of the dataset: {'; '.join(told)}"] if told else []
