"""Loads a ``WorkerSettings`` as people write it for arq, and lays the operator's environment over it."""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import arq.worker
from arq.connections import RedisSettings

from arqube_queue import environment as env
from arqube_queue.connection import InvalidAddressError, RedisAddress
from arqube_queue.turns import Policy
from arqube_worker import setting_values, termination
from arqube_worker.retries import RetryPolicy

PARAMETERS: Final = frozenset(inspect.signature(arq.worker.Worker).parameters)
"""The names arq knows; it drops all others in silence."""
RETRY_POLICY: Final = "retry_policy"
OURS: Final = frozenset({RETRY_POLICY})
"""The names that we know beside them."""

DEFAULT_SHUTDOWN_TIMEOUT_S: Final = 30.0
MOST_DEAD_LETTERS: Final = 1_000_000_000
LONGEST_SHOWN: Final = 40
"""Characters of a value that an error repeats."""


class SettingsError(Exception):
    """The settings cannot be used; the message says what to change and needs no traceback."""


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """What a target holds.

    Attributes:
        target: Where it was found, as the user wrote it.
        values: The arguments of ``arq.worker.Worker``, and what has a name of ``OURS``.
        unknown: Public names that neither arq nor we know.
        inherited: Names in ``values`` that stand in a base class or a class behind an object, which plain arq misses.
    """

    target: str
    values: Mapping[str, Any]
    unknown: tuple[str, ...] = ()
    inherited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a worker is to do, once the environment has had its say.

    Attributes:
        options: The arguments of ``arq.worker.Worker``, without those that say where Redis is.
        redis: Where Redis is; an address when the environment says it, else what the settings say.
        shutdown_timeout_s: Seconds a stopping worker may finish its jobs.
        policy: What holds for the worker's leases, payloads and dead letters.
        retry_policy: For job functions without one of their own; None for none.
    """

    options: Mapping[str, Any]
    redis: RedisSettings | RedisAddress
    shutdown_timeout_s: float
    policy: Policy = field(default_factory=Policy)
    retry_policy: RetryPolicy | None = None


def load(target: str) -> LoadedSettings:
    """Import ``module.Name`` or ``module:Name``: a class, a dict, an object, or a function that makes one of these.

    Raises:
        SettingsError: There is no such module or name, or what it holds are no settings.
    """
    module_name, _, name = target.partition(":") if ":" in target else target.rpartition(".")
    if not module_name or not name or not target.isprintable():
        raise SettingsError(f"{target!a} names no settings: write module.WorkerSettings or module:WorkerSettings")
    found: Any = _import(module_name)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise SettingsError(f"module {module_name!r} has no {name!r}: {_candidates(module_name)}") from None
        except Exception as error:
            raise SettingsError(f"{target!r} cannot be looked up: {told(error)}") from None
    try:
        return _loaded(found, target)
    except SettingsError:
        raise
    except Exception as error:  # of a property, or of a class that answers for its attributes
        raise SettingsError(f"{target!r} cannot be read: {told(error)}") from None


def _loaded(found: Any, target: str) -> LoadedSettings:
    if inspect.isfunction(found):
        found = _call(found, target)
    names = _names(found)
    known = [name for name in names if name in PARAMETERS]
    if not known:
        raise SettingsError(
            f"{target!r} holds none of arq's settings: it must be a class, dict or object with functions or cron_jobs"
        )
    own = found if isinstance(found, dict) else getattr(found, "__dict__", {})
    return LoadedSettings(
        target=target,
        values={name: _value(found, name) for name in names if name in PARAMETERS | OURS},
        unknown=tuple(name for name in names if name not in PARAMETERS | OURS),
        inherited=tuple(name for name in known if name not in own),
    )


def configure(loaded: LoadedSettings, environ: Mapping[str, str]) -> Configuration:
    """Lay the variables of ``arqube_queue.environment`` over the settings; those that are absent change nothing.

    Raises:
        SettingsError: A variable or a setting has a value that cannot be used; the message names it.
    """
    options = dict(loaded.values)
    retry_policy = options.pop(RETRY_POLICY, None)
    if retry_policy is not None and not isinstance(retry_policy, RetryPolicy):
        raise SettingsError(
            f"{RETRY_POLICY} must be a RetryPolicy of arqube_worker.retries, not {type(retry_policy).__name__}"
        )
    settings = options.pop("redis_settings", None)
    if settings is not None and not isinstance(settings, RedisSettings):
        raise SettingsError(f"redis_settings must be arq's RedisSettings, not {type(settings).__name__}")
    if (variable := env.not_utf8(environ)) is not None:
        raise SettingsError(f"{variable} must be text in UTF-8")
    if (problem := setting_values.problem_of_settings(options)) is not None:
        raise SettingsError(problem)
    try:
        address = RedisAddress.from_environment(environ)
    except InvalidAddressError as error:
        raise SettingsError(str(error)) from None
    if address is not None:
        options.pop("redis_pool", None)
    if queue_name := environ.get(env.QUEUE_NAME):
        options["queue_name"] = queue_name
    if environ.get(env.CONCURRENCY):
        options["max_jobs"] = whole_number(environ, env.CONCURRENCY, 1, least=1, most=setting_values.MOST_JOBS)
    return Configuration(
        options=options,
        redis=address or settings or RedisSettings(),
        shutdown_timeout_s=_shutdown_timeout(options, environ),
        policy=_policy(options, environ),
        retry_policy=retry_policy,
    )


def _shutdown_timeout(options: Mapping[str, Any], environ: Mapping[str, str]) -> float:
    wish = options.get("job_completion_wait")
    # arq's default of 0 means that nobody has thought about it: jobs would be cancelled at each deploy.
    seconds = wish.total_seconds() if isinstance(wish, timedelta) else float(wish or 0)
    return _seconds(environ, env.SHUTDOWN_TIMEOUT, seconds or DEFAULT_SHUTDOWN_TIMEOUT_S)


def _policy(options: Mapping[str, Any], environ: Mapping[str, str]) -> Policy:
    default = Policy()
    # A burst worker is there for what is queued now: nobody comes after it.
    grace_s = 0.0 if options.get("burst") else default.unknown_function_grace_s
    return Policy(
        lease_s=_seconds(environ, env.LEASE, default.lease_s, least=1.0),
        expires_extra_ms=int(options.get("expires_extra_ms", default.expires_extra_ms)),
        dead_letter_retention_s=_seconds(environ, env.DEAD_LETTER_RETENTION, default.dead_letter_retention_s),
        dead_letter_max_entries=whole_number(
            environ, env.DEAD_LETTER_MAX_ENTRIES, default.dead_letter_max_entries, least=0, most=MOST_DEAD_LETTERS
        ),
        unknown_function_grace_s=_seconds(environ, env.UNKNOWN_FUNCTION_GRACE, grace_s),
    )


def _seconds(environ: Mapping[str, str], name: str, default: float, *, least: float = 0.0) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= setting_values.LONGEST_S:
        raise SettingsError(f"{name} must be a number of seconds, from {least:g} to 1e9, not {_short(text)}")
    return seconds


def whole_number(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """The value of the variable ``name``, or ``default`` where it is absent or empty.

    Raises:
        SettingsError: It is no number from ``least`` to ``most`` in plain digits.
    """
    text = environ.get(name)
    if not text:
        return default
    if not re.fullmatch("[0-9]{1,18}", text) or not least <= int(text) <= most:
        raise SettingsError(f"{name} must be a whole number from {least} to {most}, not {_short(text)}")
    return int(text)


def _short(text: str) -> str:
    """The value of a variable as an error repeats it."""
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}...")


def _import(module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise SettingsError(
                f"there is no module {error.name!r}: run the worker in the folder that holds it, or install it"
            ) from None
        raise SettingsError(_failure(module_name, error)) from None
    except termination.Stopped:
        raise
    except BaseException as error:
        raise SettingsError(_failure(module_name, error)) from None


def told(error: BaseException) -> str:
    """An error in one line, also one that cannot tell itself."""
    try:
        words = " ".join(str(error).split()).encode(errors="backslashreplace").decode()
    except Exception:
        words = ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _failure(module_name: str, error: BaseException) -> str:
    """One line for a failed import; the innermost frame outside the import system is where the user must look."""
    message = f"importing {module_name!r} failed: {told(error)}"
    if isinstance(error, SystemExit):
        message += "; it must not end the process: keep scripts below if __name__ == '__main__'"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    if len(frames) > 1:
        return f"{message} ({Path(frames[-1].filename)}, line {frames[-1].lineno})"
    return message


def _candidates(module_name: str) -> str:
    module = importlib.import_module(module_name)
    names = sorted(name for name in vars(module) if name.endswith("Settings") and name != "RedisSettings")
    return f"it has {', '.join(names)}" if names else "check the name's spelling"


def _call(factory: Any, target: str) -> Any:
    if inspect.iscoroutinefunction(factory) or any(
        parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in inspect.signature(factory).parameters.values()
    ):
        raise SettingsError(
            f"{target!r} is a function that needs arguments or awaiting: name the settings it makes instead"
        )
    try:
        return factory()
    except termination.Stopped:
        raise
    except BaseException as error:
        raise SettingsError(_failure(target, error)) from None


def _value(found: Any, name: str) -> Any:
    if isinstance(found, dict):
        return found[name]
    value = getattr(found, name)
    # `on_startup = startup` in the class behind an object became a method; startup(ctx) leaves no room for self.
    if inspect.ismethod(value) and value.__self__ is found and not inspect.signature(value).parameters:
        return value.__func__
    return value


def _names(found: Any) -> list[str]:
    """All public names, base classes' included: arq reads only the last class's own."""
    if isinstance(found, dict):
        return [name for name in found if isinstance(name, str)]
    if inspect.ismodule(found):  # Its other names are imports and functions, not settings that were misspelt.
        return [name for name in vars(found) if name in PARAMETERS | OURS]
    kind = found if isinstance(found, type) else type(found)
    holders = [vars(base) for base in reversed(kind.__mro__) if base is not object]
    if not isinstance(found, type) and hasattr(found, "__dict__"):
        holders.append(vars(found))
    return list(dict.fromkeys(name for holder in holders for name in holder if not name.startswith("_")))
