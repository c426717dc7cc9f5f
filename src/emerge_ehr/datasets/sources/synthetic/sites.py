"""What differs between hospitals: item numbers, units, the hours between rounds, wording, and how often patients die.

Site "a" is the default. Site "b" is metric, has no arterial lines, makes its rounds every four hours, and has fewer deaths.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from emerge_ehr.datasets.sources.synthetic import phrases, phrases_b
from emerge_ehr.datasets.sources.synthetic.arrays import Floats
from emerge_ehr.datasets.sources.synthetic.phrases import Phrases
from emerge_ehr.datasets.sources.synthetic.risk import INTERCEPT
from emerge_ehr.datasets.sources.synthetic.tables import ITEMS, ItemRow

MG_DL_PER_MMOL_L = 18.0156  # of glucose


@dataclass(frozen=True)
class Item:
    """How a site charts a quantity: value = default site's value * ``scale`` + ``offset``; ``fraction``: no percentages."""

    itemid: int
    unit: str
    digits: int
    scale: float = 1.0
    offset: float = 0.0
    fraction: bool = False


@dataclass(frozen=True)
class Site:
    """``every``: hours between rounds; ``items``: the site's own item by that of the default site; ``uncharted``: items that
    it does without; ``rows``: those that are only in this site's dictionary, as in ``tables.ITEMS``."""

    phrases: Phrases
    intercept: float = INTERCEPT
    every: int = 1
    items: Mapping[int, Item] = field(default_factory=dict)
    uncharted: frozenset[int] = frozenset()
    rows: tuple[ItemRow, ...] = ()

    def in_its_unit(self, itemid: int, values: Floats) -> Floats:
        """Values of an item of the default site in this one's unit."""
        item = self.items.get(itemid)
        if item is None:
            return values
        in_unit = values * item.scale + item.offset
        return np.where(in_unit > 1, in_unit / 100, in_unit) if item.fraction else in_unit

    def dictionary(self) -> tuple[ItemRow, ...]:
        """The rows of ``d_items``: of all items that this site charts."""
        charted = {item.itemid for item in self.items.values()}
        gone = (self.items.keys() | self.uncharted) - charted
        return (*(row for row in ITEMS if row[0] not in gone), *self.rows)


CUFF = {220050: 220179, 220051: 220180, 220052: 220181}
GLUCOSE = Item(226537, "mmol/L", 1, 1 / MG_DL_PER_MMOL_L)
METRIC = {
    **{line: Item(cuff, "mmHg", 0) for line, cuff in CUFF.items()},
    220210: Item(224690, "insp/min", 0),
    220277: Item(220227, "%", 0),
    223761: Item(223762, "°C", 1, 5 / 9, -160 / 9),
    223830: Item(220274, "", 2),
    223835: Item(223835, "", 2, fraction=True),
    225664: GLUCOSE,
    226512: Item(224639, "kg", 1),
    226531: Item(224639, "kg", 1, 0.45359237),
    226707: Item(226730, "cm", 0, 2.54),
    226730: Item(226730, "cm", 0),
    50809: replace(GLUCOSE, itemid=50809),
    50931: replace(GLUCOSE, itemid=50931),
}
METRIC_ROWS: tuple[ItemRow, ...] = (
    (220227, "Arterial O2 Saturation", "SaO2", "Respiratory", "%", "Numeric"),
    (220274, "PH (Venous)", "PH (Venous)", "Labs", None, "Numeric"),
    (224639, "Daily Weight", "Daily Weight", "General", "kg", "Numeric"),
    (224690, "Respiratory Rate (Total)", "RR (Total)", "Respiratory", "insp/min", "Numeric"),
    (226537, "Glucose (whole blood)", "Glucose (whole blood)", "Labs", "mmol/L", "Numeric"),
)
SITES = {
    "a": Site(phrases.PHRASES),
    "b": Site(phrases_b.PHRASES, -3.2, 4, METRIC, frozenset({224308}), METRIC_ROWS),
}
