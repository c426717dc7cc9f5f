"""Counts the rows of each signal in a raw file in the pass that reads it, so that what is lost on the way can be told."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

import polars as pl


@dataclass(frozen=True)
class RowCounts:
    """``read``: rows by signal, filled by ``counting``; ``orphans``: those whose ``key`` (an id) is not among ``known``."""

    key: str = ""
    known: pl.Series | None = None
    read: Counter[str] = field(default_factory=Counter)
    orphans: Counter[str] = field(default_factory=Counter)

    def counting(self, rows: pl.LazyFrame, columns: Mapping[str, str] | None = None) -> pl.LazyFrame:
        """The same rows; when they are collected they are counted by ``code``, or by which of ``columns`` (-> signal) are filled.

        >>> counts = RowCounts("stay_id", pl.Series([1, 2]))
        >>> frame = pl.LazyFrame({"stay_id": [1, 2, 7, None], "code": ["ph", "ph", "ph", "weight"]})
        >>> counts.counting(frame).filter(pl.col("stay_id") > 1).collect().height, counts.read["ph"], counts.read["weight"]
        (2, 3, 1)
        >>> dict(counts.orphans)
        {'ph': 1}
        """
        lock = Lock()  # the engine may hand over batches from several threads

        def by_signal(batch: pl.DataFrame) -> Counter[str]:
            if columns is None:
                return Counter({str(code): count for code, count in batch.group_by("code").len().rows()})
            filled: Counter[str] = Counter()
            for column, code in columns.items():
                filled[code] += batch[column].count()
            return +filled

        def count(batch: pl.DataFrame) -> pl.DataFrame:
            read, orphans = by_signal(batch), Counter[str]()
            if self.known is not None:
                unknown = ~pl.col(self.key).is_in(self.known.implode())
                orphans = by_signal(batch.filter(unknown.fill_null(value=False)))
            with lock:
                self.read.update(read)
                self.orphans.update(orphans)
            return batch

        return rows.map_batches(count, predicate_pushdown=False, streamable=True)
