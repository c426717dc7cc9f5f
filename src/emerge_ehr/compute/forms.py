"""Forms of values on their way between processes and on disk: JSON of dataclasses, NPY of arrays. No pickles are kept."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


@dataclass(frozen=True)
class Json(Generic[T]):
    """Values of one type, ``of``, that JSON can hold; no float is NaN."""

    of: Any

    def to_bytes(self, values: Sequence[T]) -> bytes:
        """A list."""
        return self._adapter.dump_json(list(values))

    def from_bytes(self, data: bytes) -> list[T]:
        """The values; a tuple where the type says so."""
        try:
            return self._adapter.validate_json(data)
        except ValidationError as error:
            raise ValueError(f"not the JSON of {self.of}: {error.errors()[0]['msg']}") from None

    @cached_property
    def _adapter(self) -> TypeAdapter[list[T]]:
        return TypeAdapter(list[self.of])  # type: ignore[name-defined]

    def __reduce__(self) -> tuple[type["Json[Any]"], tuple[Any]]:
        """Without the adapter, which cannot be pickled."""
        return Json, (self.of,)


@dataclass(frozen=True)
class Arrays:
    """Arrays of any shape, one after the other."""

    def to_bytes(self, values: Sequence[NDArray[np.float32]]) -> bytes:
        """NPY after NPY."""
        file = io.BytesIO()
        for value in values:
            np.lib.format.write_array(file, np.ascontiguousarray(value), allow_pickle=False)
        return file.getvalue()

    def from_bytes(self, data: bytes) -> list[NDArray[np.float32]]:
        """The arrays."""
        file = io.BytesIO(data)
        found = []
        while file.tell() < len(data):
            found.append(np.lib.format.read_array(file, allow_pickle=False))
        return found
