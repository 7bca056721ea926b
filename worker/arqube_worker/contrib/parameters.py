"""Finds the parameter by which a job asks for its database session, and fills it in."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

if sys.version_info >= (3, 14):
    from annotationlib import Format

    # There an annotation whose name is imported for type checkers alone raises unless one asks for its text.
    _signature = functools.partial(inspect.signature, annotation_format=Format.FORWARDREF)
else:
    _signature = inspect.signature


@dataclass(frozen=True)
class SessionParameter:
    """A parameter that is annotated as an ``AsyncSession``.

    Attributes:
        name: Its name.
        position: Its place among what producers may pass by position; None for one that is passed by name alone.
    """

    name: str
    position: int | None

    def fill(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], session: AsyncSession
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The arguments of the call with ``session`` among them; one that was passed by name stays."""
        if self.name in kwargs:
            return args, kwargs
        if self.position is not None and self.position <= len(args):
            return (*args[: self.position], session, *args[self.position :]), kwargs
        return args, {**kwargs, self.name: session}


def session_parameter(job: Callable[..., Any]) -> SessionParameter | None:
    """The parameter of a job's function, ``ctx`` aside, that takes its session; None where it asks for none.

    Raises:
        TypeError: More than one does.
    """
    function = inspect.unwrap(job)
    names = getattr(function, "__globals__", {})
    parameters = list(_signature(job).parameters.values())[1:]
    found = [
        SessionParameter(parameter.name, None if parameter.kind is parameter.KEYWORD_ONLY else position)
        for position, parameter in enumerate(parameters)
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and _is_session(parameter.annotation, names)
    ]
    if len(found) > 1:
        raise TypeError(
            f"{getattr(job, '__qualname__', job)} takes {len(found)} sessions "
            f"({', '.join(each.name for each in found)}): a job has one, so annotate one parameter"
        )
    return found[0] if found else None


def _is_session(annotation: Any, names: dict[str, Any]) -> bool:
    """Whether it is AsyncSession or a subclass, also in ``Annotated[...]`` and beside None."""
    if annotation is inspect.Parameter.empty:
        return False
    text = getattr(annotation, "__forward_arg__", annotation)
    try:
        # It resolves texts, and strips Annotated.
        holder = types.SimpleNamespace(__annotations__={"it": text})
        hint = typing.get_type_hints(holder, names)["it"]
    except Exception:  # a name that is imported for type checkers alone
        return isinstance(text, str) and re.search(r"\bAsyncSession\b", text) is not None
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return any(isinstance(kind, type) and issubclass(kind, AsyncSession) for kind in kinds)
