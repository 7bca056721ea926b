"""Keeps equal parts of objects once: of thousands of TaskQueues most have much in common, and models are large."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Final, TypeVar

from arqube_operator.api.rules import ApiModel

KEPT: Final = 1024
"""Parts that are compared with, the last that were used."""

T = TypeVar("T", bound=ApiModel)


def shared(model: T) -> T:
    """``model``, or the equal one that is kept already; so are its parts.

    Models are frozen, so that nobody can tell but by the memory. What holds free JSON cannot be hashed and is left.
    """
    fields = vars(model)
    for name, value in fields.items():
        if isinstance(value, ApiModel):
            fields[name] = shared(value)
        elif isinstance(value, tuple):
            fields[name] = tuple(shared(item) if isinstance(item, ApiModel) else item for item in value)
        elif type(value) is str:
            fields[name] = sys.intern(value)
    names = frozenset(model.model_fields_set)
    # Not by the model's own __setattr__, which is that of a frozen one. A set alone takes more than the fields do.
    object.__setattr__(model, "__pydantic_fields_set__", _names(names))
    try:
        kept = _first(model, names)
    except TypeError:
        return model
    return kept  # type: ignore[return-value]  # lru_cache does not know that it is the same type


@lru_cache(maxsize=KEPT)
def _first(model: ApiModel, _: frozenset[str]) -> ApiModel:
    """The first of equal models; those with other fields set are not written alike."""
    return model


@lru_cache(maxsize=KEPT)
def _names(names: frozenset[str]) -> set[str]:
    return set(names)
