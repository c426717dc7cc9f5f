"""The options of source ``omop``: what a hospital's own tables mean where the common data model leaves it open."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Options:
    """Concept ids and choices; the defaults are standard concepts.

    ``schema``: where the tables are in a database that holds several sets of them. ``stays``: what a stay is. With ``auto``, ICU
    stays if there are any, else admissions. ``icu``: kinds of visits and of their details that are intensive care.
    ``admissions``: kinds of visits that are admissions to the hospital; a visit with an ICU stay is one, whatever its kind.
    ``died``: where a visit is discharged to that means death. ``planned``: kinds of visits, their source's kinds, or where they
    are admitted from, that mean an admission arranged beforehand; the model has no such field.

    ``concepts``: more measurements, concept id -> LOINC code, such as ``{ "2000000001" = "8867-4" }``. ``units``: signal -> the
    UCUM code of rows that state no unit. ``icd_version``: that of diagnoses of which neither concept nor code says it.
    """

    schema: str = ""
    stays: Literal["auto", "icu", "admissions"] = "auto"
    icu: tuple[int, ...] = (32037,)
    admissions: tuple[int, ...] = (9201, 262, 8717)
    died: tuple[int, ...] = (4216643,)
    planned: tuple[int, ...] = ()
    concepts: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    icd_version: Literal["", "9", "10"] = ""
    include_discharge_summaries: bool = False
