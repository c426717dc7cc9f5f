"""The planted risk: its three parts, and how they make the log-odds of death in hospital."""

from dataclasses import dataclass

import numpy as np

from emerge_ehr.datasets.sources.synthetic.arrays import Bools, Floats, Ints
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import GeneratedGraph

# logit of the true risk = INTERCEPT + weights of the standardised series, note and graph parts, and of their products
INTERCEPT = -2.4
SERIES_WEIGHT = 1.6
NOTE_WEIGHT = 1.6
GRAPH_WEIGHT = 1.6
FALLING_WEIGHT = 2.4  # of the graph part while the blood pressure falls, where it counts only then

WORDING_SPREAD = 8.66  # standard deviation of the sum of the domains' -1/+1 states
RISK_DISEASES_MEAN, RISK_DISEASES_SPREAD = 1.35, 1.28  # of the number of asserted diseases that carry risk


@dataclass(frozen=True)
class Risk:
    """How the parts make the risk; ``interactions`` and ``falling_pressure`` as in ``Options``."""

    intercept: float = INTERCEPT
    interactions: float = 0.0
    falling_pressure: bool = False

    def log_odds(self, series: Floats, wording: Ints, asserted: Bools, graph: GeneratedGraph) -> Floats:
        """The log-odds of in-hospital death [stays], for stays that last as long as the window.

        ``series``, ``wording`` and ``asserted`` are those of ``Hospital``. The pressure falls where ``series`` is above 0.
        """
        note, graphs = note_part(wording), graph_part(asserted, graph)
        of_graph = FALLING_WEIGHT * graphs * (series > 0) if self.falling_pressure else GRAPH_WEIGHT * graphs
        added = SERIES_WEIGHT * series + NOTE_WEIGHT * note + of_graph
        products = self.interactions * (series * note + series * graphs + note * graphs)
        total: Floats = self.intercept + added + products
        return total


def probability(log_odds: Floats) -> Floats:
    """The probability [stays] of an event with these log-odds."""
    result: Floats = 1 / (1 + np.exp(-log_odds))
    return result


def note_part(wording: Ints) -> Floats:
    """The note part of the risk [stays], standardised, from the states of the wording domains [stays, domains]."""
    part: Floats = wording.sum(axis=1) / WORDING_SPREAD
    return part


def graph_part(asserted: Bools, graph: GeneratedGraph) -> Floats:
    """The graph part of the risk [stays]: the number of asserted diseases [stays, diseases] that carry risk, standardised."""
    carries_risk = np.array([disease.carries_risk for disease in graph.diseases])
    part: Floats = ((asserted & carries_risk).sum(axis=1) - RISK_DISEASES_MEAN) / RISK_DISEASES_SPREAD
    return part
