"""What the plain loops over raw rows share, against which the sources' tables are compared."""

import statistics
from collections.abc import Iterable

SCORES = ("capillary_refill_rate", "gcs_eye", "gcs_motor", "gcs_verbal", "gcs_total")
PARTS = ("gcs_eye", "gcs_motor", "gcs_verbal")
Moment = tuple[str, str, str]  # sample, time, signal


def one_per_moment(rows: Iterable[tuple[str, str, str, float, int]]) -> set[tuple[str, str, str, float]]:
    """One of several values (sample, time, signal, value, rank): the median of the lowest rank, of scores the worse one.

    A value that stands twice at one time counts once.

    The sum of the three parts of the GCS stands where all were charted at one time and no total was.
    """
    values: dict[Moment, list[tuple[int, float]]] = {}
    for sample, time, signal, value, rank in rows:
        values.setdefault((sample, time, signal), []).append((rank, float(f"{value:.7g}")))
    once = {
        moment: [(min(rank for rank, other in among if other == value), value) for value in {pair[1] for pair in among}]
        for moment, among in values.items()
    }
    kept = {moment: _chosen(moment[2], among) for moment, among in once.items()}
    for sample, time in {moment[:2] for moment in kept}:
        parts = [kept.get((sample, time, part)) for part in PARTS]
        if None not in parts:
            kept.setdefault((sample, time, "gcs_total"), sum(part for part in parts if part is not None))
    return {(*moment, value) for moment, value in kept.items()}


def _chosen(signal: str, among: list[tuple[int, float]]) -> float:
    best = sorted(value for rank, value in among if rank == min(among)[0])
    if signal == "capillary_refill_rate":
        return statistics.median_high(best)
    return statistics.median_low(best) if signal in SCORES else statistics.median(best)
