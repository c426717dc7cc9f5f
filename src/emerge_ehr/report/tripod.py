"""The 27 items of TRIPOD+AI (Collins et al. 2024, doi 10.1136/bmj-2023-078378): where the report says what each asks for.

What an item asks is told in our words, in a few of them; the statement itself is the reference. A report of a run cannot say why
the study was done or what it means for practice: such items are the author's to write.
"""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One item. ``asks``: what it is about; ``section`` of the paper. ``places``: the parts of the report that tell of it, by
    their ids; ``words``: what they hold, or what is left to the author; ``whose``: who has to write it."""

    number: str
    section: str
    asks: str
    places: tuple[str, ...]
    words: str

    @property
    def whose(self) -> str:
        """``here`` where the report tells all of it, ``partly``, or ``author`` where it tells nothing."""
        if not self.places:
            return "author"
        return "partly" if AUTHOR in self.words else "here"


AUTHOR = "yours to write: "
_ITEMS = (
    Item("1", "Title", "title", (), "names the study's kind, its population and the outcome"),
    Item("2", "Abstract", "abstract", (), "in the form of TRIPOD+AI for abstracts"),
    Item("3a", "Introduction", "clinical context, and why a model", (), "with existing models of this outcome"),
    Item("3b", "Introduction", "who shall use it, and when", ("use",), f"intended use; {AUTHOR}its place in care"),
    Item("3c", "Introduction", "known inequalities between groups", (), "for this outcome and this population"),
    Item("4", "Introduction", "objectives", (), "development, evaluation, or both"),
    Item("5a", "Methods", "sources of data", ("data",), f"source and tables; {AUTHOR}how representative they are"),
    Item("5b", "Methods", "dates of the data", (), "dates are shifted or absent in research records; name the years"),
    Item("6a", "Methods", "setting and centres", ("table-1",), f"units; {AUTHOR}which hospitals, and where"),
    Item("6b", "Methods", "who is eligible", ("flow",), "every exclusion, counted"),
    Item(
        "6c", "Methods", "treatments", (), "an input of the model only with source.treatments; say what was usual care"
    ),
    Item(
        "7",
        "Methods",
        "preparation of the data",
        ("rows", "provenance"),
        f"what was read, dropped and repaired; {AUTHOR}quality by group",
    ),
    Item(
        "8a",
        "Methods",
        "the outcome and its time",
        ("answer", "provenance"),
        f"the task and its settings; {AUTHOR}why this outcome and horizon",
    ),
    Item("8b", "Methods", "who judged the outcome", (), "outcomes come from the records; say how they were entered"),
    Item("8c", "Methods", "blinding of that judgement", (), "does not apply to deaths and admissions of records"),
    Item("9a", "Methods", "choice of predictors", ("inputs",), f"all inputs; {AUTHOR}why these"),
    Item(
        "9b", "Methods", "definition of predictors", ("inputs", "rows"), "signals with units, texts, and their window"
    ),
    Item("9c", "Methods", "who judged predictors", (), "only where people had to interpret them"),
    Item("10", "Methods", "sample size", ("table-1",), f"sizes and outcomes; {AUTHOR}why they suffice"),
    Item(
        "11",
        "Methods",
        "missing data",
        ("missing",),
        f"how much was measured, and what stands in; {AUTHOR}why it is missing",
    ),
    Item("12a", "Methods", "how data were used", ("splits",), "training, validation, test, by person"),
    Item("12b", "Methods", "handling of predictors", ("inputs",), "standardised by training; texts encoded"),
    Item(
        "12c",
        "Methods",
        "the model and its building",
        ("training", "provenance"),
        f"every setting, and the epochs; {AUTHOR}how they were chosen",
    ),
    Item(
        "12d",
        "Methods",
        "differences between clusters",
        ("subgroups",),
        f"by unit, and hospital if there are several; {AUTHOR}other clusters",
    ),
    Item("12e", "Methods", "measures of performance", ("performance",), "with what each means"),
    Item("12f", "Methods", "updating of the model", ("calibration",), "recalibration, where it was done"),
    Item("12g", "Methods", "how predictions were calculated", ("provenance",), "by the program, at these versions"),
    Item("13", "Methods", "class imbalance", ("table-1", "provenance"), "shares, and settings of the loss"),
    Item("14", "Methods", "fairness", ("subgroups",), f"gaps between groups; {AUTHOR}what was done about them"),
    Item("15", "Methods", "output, and thresholds", ("alerts", "performance"), "risks, and where thresholds come from"),
    Item("16", "Methods", "training against evaluation", ("splits", "table-1"), "who is in which split"),
    Item("17", "Methods", "ethical approval", (), "for MIMIC and eICU: the data use agreement and its review board"),
    Item("18a", "Open science", "funding", (), "and the funders' part in the study"),
    Item("18b", "Open science", "conflicts of interest", (), "of all authors"),
    Item("18c", "Open science", "protocol", (), "where it can be read"),
    Item("18d", "Open science", "registration", (), "the register and its number"),
    Item("18e", "Open science", "availability of the data", ("provenance",), f"hashes; {AUTHOR}how to get the data"),
    Item("18f", "Open science", "availability of the code", ("provenance",), f"versions; {AUTHOR}where yours is"),
    Item("19", "Patients and public", "their involvement", (), "in the study, or that there was none"),
    Item("20a", "Results", "flow of participants", ("flow", "splits"), "who was left out, and outcomes by split"),
    Item(
        "20b",
        "Results",
        "characteristics",
        ("table-1",),
        f"overall and by split; {AUTHOR}by other groups, and follow-up",
    ),
    Item("20c", "Results", "development against evaluation", ("table-1",), "by split; other hospitals: stage evaluate"),
    Item("21", "Results", "numbers in each analysis", ("performance", "splits"), "samples and outcomes"),
    Item(
        "22",
        "Results",
        "the model in full",
        ("provenance",),
        f"hashes and settings; {AUTHOR}where the model folder (stage export) is",
    ),
    Item("23a", "Results", "performance with intervals", ("performance", "subgroups"), "overall and by group"),
    Item(
        "23b",
        "Results",
        "heterogeneity between clusters",
        ("subgroups",),
        f"by unit, and hospital if there are several; {AUTHOR}other clusters",
    ),
    Item("24", "Results", "results of updating", ("calibration",), "before and after recalibration"),
    Item("25", "Discussion", "interpretation", (), "with fairness, and earlier studies"),
    Item("26", "Discussion", "limitations", ("limits",), f"what the program knows; {AUTHOR}those of the study"),
    Item(
        "27a", "Discussion", "poor or missing inputs in use", ("missing", "limits"), f"what stands in; {AUTHOR}advice"
    ),
    Item("27b", "Discussion", "what users have to do", ("use",), f"intended use; {AUTHOR}skills it takes"),
    Item("27c", "Discussion", "next steps", (), "towards use elsewhere"),
)


def items(there: Collection[str]) -> tuple[Item, ...]:
    """The items, with the places of them that this report has (``there``: ids of its parts)."""
    found = []
    for item in _ITEMS:
        places = tuple(place for place in item.places if place in there)
        lost = f"{AUTHOR}this run has none of it ({item.words})" if item.places and not places else item.words
        found.append(Item(item.number, item.section, item.asks, places, lost))
    return tuple(found)
