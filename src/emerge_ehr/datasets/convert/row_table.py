"""The table with which a conversion ends: what became of the rows of each file and signal."""

from collections.abc import Iterator, Mapping, Sequence

from emerge_ehr.datasets.convert.harmonise import Flow

HEADERS = ("file", "signal", "rows", "in windows", "kept", "left out, and what was repaired")


def lines(flows: Sequence[Flow]) -> Iterator[str]:
    """A line per file and signal, aligned under a line of headers.

    >>> flow = Flow("labs.csv", "ph", None, 0, 3, {"charted twice": 1}, {}, 2)
    >>> list(lines([flow]))[1].split()
    ['labs.csv', 'ph', '-', '3', '2', '1', 'charted', 'twice']
    """
    rows = [HEADERS, *(_row(flow) for flow in flows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADERS) - 1)]
    for *cells, words in rows:
        texts = [
            cell.ljust(width) if n < 2 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        yield "  ".join([*texts, words]).rstrip()


def _row(flow: Flow) -> tuple[str, ...]:
    lost = {**flow.dropped, **({"of a stay that is not in the table of stays": flow.orphans} if flow.orphans else {})}
    words = "; ".join(part for part in (_counted(lost), _counted(flow.repaired, "repaired: ")) if part)
    in_file = "-" if flow.in_file is None else f"{flow.in_file}"
    return flow.table, flow.signal, in_file, f"{flow.in_windows}", f"{flow.kept}", words


def _counted(reasons: Mapping[str, int], opening: str = "") -> str:
    return opening + ", ".join(f"{count} {reason}" for reason, count in reasons.items()) if reasons else ""
