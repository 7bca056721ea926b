"""Reads the plain entries of a MessagePack map without the library, which producers have and readers need not.

Source of the format: the MessagePack specification, https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MOST_VALUES: Final = 20_000
"""Values that are looked at, which takes some 20 ms."""

_OPAQUE: Final = object()
_FIXED: Final = {0xC0: None, 0xC2: False, 0xC3: True}
_INTEGERS: Final = {first: (1 << first % 4, first >= 0xD0) for first in (*range(0xCC, 0xD0), *range(0xD0, 0xD4))}
"""By the first byte: how many bytes follow, and whether the number has a sign."""
_TEXTS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
"""By the first byte: bytes of the length."""
_OPAQUE_SIZES: Final = {0xCA: 4, 0xCB: 8, **{0xD4 + power: 1 + (1 << power) for power in range(5)}}
"""Floats and extensions of fixed size: bytes that follow."""
_OPAQUE_LENGTHS: Final = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
"""Bytes and extensions: bytes of the length, and bytes that follow beside what it counts."""
_ARRAYS: Final = {0xDC: 2, 0xDD: 4}
_MAPS: Final = {0xDE: 2, 0xDF: 4}


class _EndError(Exception):
    """The data ends here, is of another format, or has more values than are looked at."""


def read_map(data: bytes) -> Mapping[str, Any]:
    """The entries of the map whose keys are texts; values that are no text, whole number or None are opaque.

    Of a map that is cut short, wrong or very long, those that stand before; empty where it is no map.
    """
    entries: dict[str, Any] = {}
    reader = _Reader(data)
    try:
        for _ in range(reader.map_size()):
            key = reader.value()
            value = reader.value()
            if isinstance(key, str):
                entries[key] = value
    except _EndError:
        pass
    return entries


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._values = 0

    def map_size(self) -> int:
        """Entries of the map that begins here; 0 where none does."""
        first = self._take(1)[0]
        if first in _MAPS:
            return self._number(_MAPS[first])
        return first & 0x0F if first & 0xF0 == 0x80 else 0

    def value(self) -> Any:
        """The next value, with all that is in it behind us."""
        value, left = self._head()
        while left:
            left += self._head()[1] - 1
        return value

    def _head(self) -> tuple[Any, int]:
        """The next value, or of a list or map its opaque head and how many values follow in it."""
        self._values += 1
        if self._values > MOST_VALUES:
            raise _EndError
        first = self._take(1)[0]
        if first < 0x80:
            return first, 0
        if first >= 0xE0:
            return first - 0x100, 0
        if first in _FIXED:
            return _FIXED[first], 0
        if first in _INTEGERS:
            size, signed = _INTEGERS[first]
            return int.from_bytes(self._take(size), "big", signed=signed), 0
        if first & 0xE0 == 0xA0:
            return self._text(first & 0x1F), 0
        if first in _TEXTS:
            return self._text(self._number(_TEXTS[first])), 0
        return _OPAQUE, self._opaque(first)

    def _opaque(self, first: int) -> int:
        """Pass over what begins with ``first``; how many values follow in it."""
        if first & 0xF0 == 0x80:
            return 2 * (first & 0x0F)
        if first & 0xF0 == 0x90:
            return first & 0x0F
        if first in _MAPS:
            return 2 * self._number(_MAPS[first])
        if first in _ARRAYS:
            return self._number(_ARRAYS[first])
        if first in _OPAQUE_LENGTHS:
            size, beside = _OPAQUE_LENGTHS[first]
            self._take(self._number(size) + beside)
        elif first in _OPAQUE_SIZES:
            self._take(_OPAQUE_SIZES[first])
        else:  # 0xC1 is never used
            raise _EndError
        return 0

    def _text(self, size: int) -> Any:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError:
            return _OPAQUE

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise _EndError
        self._at += size
        return taken
