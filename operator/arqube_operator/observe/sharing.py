"""Keeps equal parts of objects once: of thousands of TaskQueues most have much in common, and models are large."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, Final, TypeVar

from arqube_operator.api.rules import ApiModel

KEPT: Final = 1024
"""Models that are compared with, the last that were used."""

T = TypeVar("T", bound=ApiModel)

_kept: Final[OrderedDict[Hashable, Any]] = OrderedDict()


def shared(model: T) -> T:
    """``model``, or one that is the same and kept already; so are its parts.

    Models are frozen, so that nobody can tell but by the memory. Those with free JSON in them are left; parts are not.
    """
    return _shared(model)[0]


def _shared(model: T) -> tuple[T, bool]:
    """As ``shared``, and whether the model is kept."""
    fields, whole = vars(model), not model.__pydantic_extra__
    told: list[Any] = []
    for name, value in fields.items():
        items = value if isinstance(value, tuple) else (value,)
        parts = [_shared(item) if isinstance(item, ApiModel) else (_interned(item), True) for item in items]
        whole = whole and all(kept for _, kept in parts)
        # Parts that are kept are the same only if they are one. What is kept with them keeps them alive, and their ids.
        told.append(tuple(id(part) if isinstance(part, ApiModel) else part for part, _ in parts))
        fields[name] = tuple(part for part, _ in parts) if isinstance(value, tuple) else parts[0][0]
    names = frozenset(model.model_fields_set)
    # Not by the model's own __setattr__, which is that of a frozen one. A set alone takes more than the fields do.
    object.__setattr__(model, "__pydantic_fields_set__", _names(names))
    try:
        return (_first((type(model), names, *told), model), True) if whole else (model, False)
    except TypeError:  # A field cannot be hashed.
        return model, False


def _interned(value: Any) -> Any:
    return sys.intern(value) if type(value) is str else value


def _first(key: Hashable, model: T) -> T:
    """The first model with ``key``."""
    first: T = _kept.setdefault(key, model)
    _kept.move_to_end(key)
    if len(_kept) > KEPT:
        _kept.popitem(last=False)
    return first


@lru_cache(maxsize=KEPT)
def _names(names: frozenset[str]) -> set[str]:
    return set(names)
