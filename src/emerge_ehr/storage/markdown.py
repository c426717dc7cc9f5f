"""Tables in Markdown, as the pages of the program hold them."""

from collections.abc import Callable, Iterator, Sequence


def table(rows: Sequence[Sequence[str]], written: Callable[[str], str] = str) -> Iterator[str]:
    """The lines of a table, the first of ``rows`` its heads; ``written`` makes a cell fit for a table.

    >>> print(*table([["", "value"], ["a|b", "1"]], lambda cell: cell.replace("|", "/")), sep="\\n")
    |  | value |
    | --- | --- |
    | a/b | 1 |
    """
    for n, row in enumerate(rows):
        yield "| " + " | ".join(map(written, row)) + " |"
        if n == 0:
            yield "|" + " --- |" * len(row)
