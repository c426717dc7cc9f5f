"""What the generated hospital is like; the defaults are the hospital that all earlier results were measured on."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from emerge_ehr.fields import Positive


@dataclass(frozen=True)
class Options:
    """``stays``: the number of ICU stays to generate. docs/synthetic_options.md measures what each of the others does.

    ``interactions``: how much what one part of the risk (series, note or graph) means depends on the others, as the weight of
    their products in the log-odds; 0 for a risk that is a plain sum. ``falling_pressure``: the diseases that carry risk matter
    only while the blood pressure falls. ``informative_missingness``: how closely the number of rounds in which a stay is
    measured follows its risk, as a correlation; with 0 all stays are measured alike. ``sampling``: one round an hour, or bursts
    and gaps. ``site``: whose units, item numbers, rounds, wording and rate of deaths; "b" is another hospital than the default.
    ``notes``: the planted sentences alone, or within the sections, tables and copied text of real notes. ``death_times``: a
    death ends the stay when it would have ended anyway, or the sooner the higher the risk.
    """

    invented: ClassVar[bool] = True  # its patients

    stays: Positive = 2000
    interactions: Annotated[float, Ge(0), Le(10)] = 0.0
    falling_pressure: bool = False
    informative_missingness: Annotated[float, Ge(0), Le(1)] = 0.0
    sampling: Literal["hourly", "irregular"] = "hourly"
    site: Literal["a", "b"] = "a"
    notes: Literal["short", "long"] = "short"
    death_times: Literal["stay", "risk"] = "stay"

    @property
    def changed(self) -> dict[str, float | str]:
        """The options besides ``stays`` that are not at their defaults."""
        others = [option for option in dataclasses.fields(self) if option.name != "stays"]
        given = {option.name: getattr(self, option.name) for option in others}
        return {option.name: given[option.name] for option in others if given[option.name] != option.default}
