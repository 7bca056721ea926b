"""Rules about database sessions that several jobs share."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from arqube_local.adoption.findings import Finding, Level, Place
from arqube_local.adoption.jobs import inside, reached
from arqube_local.adoption.look import Look
from arqube_local.adoption.names import Found, Scope, external_name, resolve
from arqube_local.adoption.values import known
from arqube_local.adoption.worker_settings import WorkerSettings

_SESSIONS: Final = ("sqlalchemy.ext.asyncio.AsyncSession", "sqlalchemy.orm.Session", "sqlmodel.Session")
_MAKERS: Final = {"sessionmaker", "async_sessionmaker", "scoped_session", "async_scoped_session"}
_DEFAULT_MAX_JOBS: Final = 10
_DEEPEST: Final = 4
_OF_EACH_JOB: Final = "arqube_worker.contrib.sqlalchemy.Database.settings"
"""The decorator of settings that gives each job a session of its own, as ``ctx["db"]``."""
_REMEDY: Final = (
    "give each job its own: @database.settings of arqube_worker.contrib.sqlalchemy puts one into ctx['db'], or keep the"
    " sessionmaker in ctx and open a session in the job"
)


def shared_session(look: Look) -> Iterator[Finding]:
    """One session in ``ctx``, or in a module, that all jobs of a worker use at once."""
    for settings in look.settings:
        if settings.known("max_jobs", _DEFAULT_MAX_JOBS) == 1:
            continue
        bodies = [each for job in look.jobs(settings).all if job.body for each in reached(job.body)]
        used = {key for each in bodies for key in _keys_read(each)}
        for key, place in _sessions_in_ctx(settings):
            if key in used and not (key == "db" and _sessions_of_their_own(settings)):
                yield _finding(place, f"ctx[{key!r}]")
        for body in bodies:
            for name, place in _sessions_of_modules(body):
                yield _finding(place, name)


def _finding(place: Place, name: str) -> Finding:
    return Finding(
        "shared-session",
        Level.ERROR,
        place,
        f"{name} is one database session for all jobs that run at the same time: one job's rollback takes another's"
        " work with it",
        _REMEDY,
    )


def _sessions_of_their_own(settings: WorkerSettings) -> bool:
    decorators = getattr(settings.found.node, "decorator_list", [])
    return any(external_name(settings.scope, each) == _OF_EACH_JOB for each in decorators)


def _sessions_in_ctx(settings: WorkerSettings) -> Iterator[tuple[str, Place]]:
    """The keys of ``ctx`` to which ``on_startup``, or a function that it calls, gives a session."""
    hook = settings.get("on_startup")
    found = resolve(hook.scope, hook.node) if hook and isinstance(hook.node, ast.expr) else hook
    if not isinstance(found, Found):
        return
    for function in reached(found):
        for node in inside(function):
            if not isinstance(node, ast.Assign):
                continue
            for target in node.targets:
                key = _key(function.scope, target)
                if key and _is_session(function, node.value, 0):
                    yield key, function.scope.at(node)


def _keys_read(function: Found) -> Iterator[str]:
    for node in inside(function):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and (key := _key(function.scope, node)):
            yield key
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            key = known(function.scope, node.args[0]) if node.args else None
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "ctx" and isinstance(key, str):
                yield key


def _key(scope: Scope, node: ast.expr) -> str | None:
    """``key`` of ``ctx["key"]``."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "ctx":
        key = known(scope, node.slice)
        return key if isinstance(key, str) else None
    return None


def _sessions_of_modules(function: Found) -> Iterator[tuple[str, Place]]:
    """Sessions at the top of a module that the function uses."""
    own = {each.arg for each in ast.walk(function.node) if isinstance(each, ast.arg)}
    own |= {
        each.id for each in ast.walk(function.node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }
    for node in inside(function):
        if isinstance(node, ast.Name) and node.id not in own:
            found = resolve(function.scope, node)
            if isinstance(found, Found) and isinstance(found.node, ast.Call) and _is_session(found, found.node, 0):
                yield node.id, found.place


def _is_session(function: Found, node: ast.expr, depth: int) -> bool:
    """Whether an expression in a function comes to a session."""
    if depth > _DEEPEST:
        return False
    if isinstance(node, ast.Await):
        return _is_session(function, node.value, depth)
    if isinstance(node, ast.Name):
        return any(_is_session(function, each, depth + 1) for each in _given(function, node.id))
    if not isinstance(node, ast.Call):
        return False
    name = external_name(function.scope, node.func)
    if name in _SESSIONS:
        return True
    if isinstance(node.func, ast.Name) and node.func.id in {"anext", "next"} and node.args:
        return _is_session(function, node.args[0], depth + 1)
    if isinstance(node.func, ast.Attribute) and node.func.attr in {"__aenter__", "__anext__", "enter_async_context"}:
        inner = node.args[0] if node.args else node.func.value
        return _is_session(function, inner, depth + 1)
    made_by = resolve(function.scope, node.func)
    if isinstance(made_by, Found) and isinstance(made_by.node, ast.Call):  # Session = async_sessionmaker(...)
        return _maker_name(made_by) in _MAKERS
    if isinstance(made_by, Found) and isinstance(made_by.node, ast.FunctionDef | ast.AsyncFunctionDef):
        given = (each.value for each in inside(made_by) if isinstance(each, ast.Yield | ast.Return) and each.value)
        return any(_is_session(made_by, each, depth + 1) for each in given)
    return isinstance(node.func, ast.Name) and any(
        isinstance(each, ast.Call) and _maker_name(Found(function.scope, each)) in _MAKERS
        for each in _given(function, node.func.id)
    )


def _maker_name(found: Found) -> str:
    """The last part of the name of what is called."""
    assert isinstance(found.node, ast.Call)  # noqa: S101 - its callers looked
    return external_name(found.scope, found.node.func).rpartition(".")[2]


def _given(function: Found, name: str) -> Iterator[ast.expr]:
    """What a name is given within a function."""
    for node in inside(function):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            yield node.value
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                if isinstance(item.optional_vars, ast.Name) and item.optional_vars.id == name:
                    yield item.context_expr
        elif isinstance(node, ast.For | ast.AsyncFor) and isinstance(node.target, ast.Name) and node.target.id == name:
            yield node.iter


RULES: Final = (shared_session,)
