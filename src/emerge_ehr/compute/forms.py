"""Turns values into bytes, for other processes and for the disk: dataclasses as JSON, arrays as NPY. No pickles are kept."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


@dataclass(frozen=True)
class Json(Generic[T]):
    """Values of the type ``of``, which JSON can hold; no float may be NaN."""

    of: Any

    def to_bytes(self, values: Sequence[T]) -> bytes:
        """A JSON list of the values."""
        return self._adapter.dump_json(list(values))

    def from_bytes(self, data: bytes) -> list[T]:
        """The values again, as the type has them.

        Raises:
            ValueError: the bytes are not the JSON of such values.
        """
        try:
            return self._adapter.validate_json(data)
        except ValidationError as error:
            raise ValueError(f"not the JSON of {self.of}: {error.errors()[0]['msg']}") from None

    @cached_property
    def _adapter(self) -> TypeAdapter[list[T]]:
        return TypeAdapter(list[self.of])  # type: ignore[name-defined]

    def __reduce__(self) -> tuple[type["Json[Any]"], tuple[Any]]:
        """Pickle without the adapter, which cannot be pickled."""
        return Json, (self.of,)


@dataclass(frozen=True)
class Rows:
    """Lists of rows of ``width`` whole numbers of 32 bits; many rows take a tenth of the time and space of JSON.

    >>> Rows(2).from_bytes(Rows(2).to_bytes([[(1, 2), (3, -1)], []]))
    [[(1, 2), (3, -1)], []]
    """

    width: int

    def to_bytes(self, values: Sequence[Sequence[tuple[int, ...]]]) -> bytes:
        """The number of lists, the number of rows in each, then the rows."""
        rows = np.fromiter(chain.from_iterable(chain.from_iterable(values)), np.int32)
        return np.concatenate([[len(values)], [len(value) for value in values], rows]).astype("<i4").tobytes()

    def from_bytes(self, data: bytes) -> list[Any]:
        """The lists again; a ``ValueError`` if the bytes are damaged."""
        numbers = np.frombuffer(data, "<i4").tolist()
        count = numbers[0] if numbers else -1
        lengths = numbers[1 : count + 1]
        if (
            not 0 <= count == len(lengths)
            or min(lengths, default=0) < 0
            or len(numbers) != 1 + count + self.width * sum(lengths)
        ):
            raise ValueError(f"not the bytes of lists of rows of {self.width} numbers")
        rows = zip(*[iter(numbers[1 + count :])] * self.width, strict=True)
        return [list(islice(rows, length)) for length in lengths]


@dataclass(frozen=True)
class Arrays:
    """Arrays of any shape."""

    def to_bytes(self, values: Sequence[NDArray[np.float32]]) -> bytes:
        """The arrays in NPY format, one after the other."""
        file = io.BytesIO()
        for value in values:
            np.lib.format.write_array(file, np.ascontiguousarray(value), allow_pickle=False)
        return file.getvalue()

    def from_bytes(self, data: bytes) -> list[NDArray[np.float32]]:
        """The arrays again; a ``ValueError`` if the bytes are damaged."""
        file = io.BytesIO(data)
        arrays = []
        while file.tell() < len(data):
            arrays.append(np.lib.format.read_array(file, allow_pickle=False))
        return arrays


@dataclass(frozen=True)
class Pickled:
    """Values of any type, as ``multiprocessing`` sends them to the processes that this one starts; never for the disk."""

    def to_bytes(self, values: Sequence[Any]) -> bytes:
        """The pickled list of the values."""
        return bytes(ForkingPickler.dumps(list(values)))

    def from_bytes(self, data: bytes) -> list[Any]:
        """The values again."""
        values: list[Any] = ForkingPickler.loads(data)
        return values
