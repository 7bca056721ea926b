"""From values to pages: the templates, and how numbers, times and texts are written in them.

Every value is escaped, and characters that cannot be seen are marked: ids and tracebacks are somebody else's texts.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from arqube_operator.text import age, printable, timestamp

_FOLDER: Final = Path(__file__).parent
_TYPES: Final = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
LONGEST_LINK: Final = 2000
"""Characters of a job's id beyond which it gets no page: a request's line has an end."""


class Statics:
    """The files that pages refer to, read once."""

    def __init__(self) -> None:
        self._files = {name: (_FOLDER / "static" / name).read_bytes() for name in _TYPES}

    def get(self, name: str) -> tuple[bytes, str] | None:
        """A file's content and its media type; None when there is none of that name."""
        return (self._files[name], _TYPES[name]) if name in self._files else None

    def url(self, name: str) -> str:
        """Where a page finds it; another when the file is another."""
        return f"/static/{name}?{hashlib.sha256(self._files[name]).hexdigest()[:12]}"


class Pages:
    """Makes pages of templates."""

    def __init__(self, statics: Statics) -> None:
        self._environment = _environment()
        self._environment.globals["static"] = statics.url

    def render(self, template: str, **values: Any) -> str:
        """The page that ``templates/<template>.html`` makes of ``values``."""
        return self._environment.get_template(f"{template}.html").render(values)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "age": lambda seconds: age(max(0, int(seconds))),
        "count": lambda number: "–" if number is None else f"{number:,}",  # noqa: RUF001 - an en dash is meant
        "cut": _cut,
        "instant": lambda text: int(datetime.fromisoformat(text).timestamp() * 1000),
        "linkable": lambda text: len(quote(text, safe="")) <= LONGEST_LINK,
        "moment": _moment,
        "quoted": lambda text: quote(text, safe=""),
        "seconds": _seconds,
        "sentence": lambda text: text[:1].upper() + text[1:],
    }
    return environment


def _visible(value: Any) -> Any:
    """``value`` with marks in the place of characters that cannot be seen, line by line."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "\n".join(map(printable, value.split("\n")))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _moment(unix_ms: int | None, now_ms: int) -> Markup:
    """How long ago, and the time itself for programs and for whoever points at it."""
    if unix_ms is None or (at := timestamp(unix_ms)) is None:
        return Markup("unknown")
    left_s = (unix_ms - now_ms) / 1000
    words = f"in {age(int(left_s))}" if left_s >= 1 else f"{age(max(0, int(-left_s)))} ago"
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(at, words)


def _seconds(value: float | None) -> str:
    """A short time as people read it."""
    if value is None:
        return "–"  # noqa: RUF001 - an en dash is meant
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 120 else age(int(value))
