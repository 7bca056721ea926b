"""Reads the plain entries of a pickled dict without loading it: opcodes are followed, no object is ever made.

Source of the opcodes and what they do to the stack: Python's ``pickletools``. Texts, numbers, None and dicts are
followed; whatever else stands on the stack is opaque.
"""

from __future__ import annotations

import io
import pickletools
import warnings
from collections.abc import Mapping
from typing import Any, Final

MOST_OPCODES: Final = 20_000
"""Opcodes that are looked at, which takes some 20 ms."""

_OPAQUE: Final = object()
_MARK: Final = object()
_LITERALS: Final = frozenset({"int", "str", "int_or_bool", "None"})
_FETCHES: Final = frozenset({"GET", "BINGET", "LONG_BINGET"})
_KEEPS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


def read_dict(pickle: bytes, plain: frozenset[str]) -> Mapping[str, Any]:
    """The entries of the pickled dict whose keys are texts; values that are no text, number or None are opaque.

    Of a pickle that is cut short, wrong or very long, those that are sure; empty where it is no dict.

    Args:
        pickle: Its bytes.
        plain: Keys whose values are plain. Beyond another key, a cut pickle does not show which of the values that are
            still to be put together belong to it.
    """
    machine = _Machine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in old texts
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(pickle))):
                if count == MOST_OPCODES:
                    break
                machine.step(opcode, argument)
        except (ValueError, IndexError, OverflowError):  # no pickle from here on
            pass
    return machine.outermost(plain)


class _Machine:
    """The pickle machine's stack and memo."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Do what ``opcode`` does to the stack.

        Raises:
            IndexError: The stack holds less than the opcode takes.
        """
        stack, name = self._stack, opcode.name
        if name == "MARK":
            stack.append(_MARK)
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "DICT":
            stack.append(_entries(self._pop_to_mark()))
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _update(stack[-1], [key, value])
        elif name == "SETITEMS":
            items = self._pop_to_mark()
            _update(stack[-1], items)
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in _KEEPS:
            self._memo[argument] = stack[-1]
        elif name in _FETCHES:
            stack.append(self._memo.get(argument, _OPAQUE))
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "STOP":
            self._stack = stack[-1:]  # that is what is loaded, whatever lies below
        else:
            self._step_opaquely(opcode, argument)

    def outermost(self, plain: frozenset[str]) -> Mapping[str, Any]:
        """The dict at the bottom, with the entries that are on the stack to be put into it."""
        match self._stack:
            case [dict(entries), marker, *items] if marker is _MARK:
                return {**entries, **_leading(items, plain)}
            case [dict(entries), *_]:
                return entries
        return {}

    def _step_opaquely(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        before = list(opcode.stack_before)
        if pickletools.stackslice in before:
            self._pop_to_mark()
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            self._stack.pop()
        for after in opcode.stack_after:
            literal = after.name in _LITERALS and not before
            self._stack.append(argument if literal else _OPAQUE)

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        items.reverse()
        return items


def _entries(items: list[Any]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    _update(entries, items)
    return entries


def _leading(items: list[Any], plain: frozenset[str]) -> dict[str, Any]:
    """Keys and values, in turns, up to the first that is not ``plain``."""
    entries: dict[str, Any] = {}
    for key, value in zip(items[::2], items[1::2]):  # noqa: B905 - the last key waits for its value
        if not isinstance(key, str) or key not in plain or not (value is None or isinstance(value, (str, int))):
            break
        entries[key] = value
    return entries


def _update(target: Any, items: list[Any]) -> None:
    """Put keys and values, in turns, into ``target`` if that is a dict we follow."""
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2]):  # noqa: B905 - a wrong pickle may have an odd one
            if isinstance(key, str):
                target[key] = value
