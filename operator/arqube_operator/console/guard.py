"""What every request passes: the Host it names, where a form comes from and whom, and the headers of each answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from arqube_operator.console.sessions import Sessions

SESSION_COOKIE: Final = "arqube-session"
VISITOR_COOKIE: Final = "arqube-visitor"
"""Of those who are about to sign in."""
FORM_KEY: Final = "form_key"
LOGIN_PATH: Final = "/login"

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer, with which browsers send forms without their origin.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_OWN_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PLAIN: Final = {404: "There is no such page.", 405: "That cannot be done here.", 413: "That is too much at once."}
_FORM: Final = "application/x-www-form-urlencoded"

ErrorPage = Callable[[web.Request, int, str], web.Response]

log = structlog.get_logger(__name__)


def guard(sessions: Sessions, error_page: ErrorPage) -> Middleware:
    """The middleware; ``error_page`` makes the page for a status and a sentence."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check_host(request)
            if request.method not in ("GET", "HEAD"):
                await _check_form(request, sessions)
            response = await handler(request)
        except web.HTTPException as answer:
            response = error_page(request, answer.status, _words(answer))
        except Exception:
            log.exception("console.defect", path=request.path)
            response = error_page(request, 500, "Something went wrong here. The operator's log has the details.")
        return response

    return guarded


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Called before each answer is sent, also those of aiohttp's that pass the middleware by."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _words(answer: web.HTTPException) -> str:
    """Ours, where aiohttp has no more to say than the status."""
    if answer.text and answer.text != f"{answer.status}: {answer.reason}":
        return answer.text
    return _PLAIN.get(answer.status, answer.reason)


def is_signed_in(request: web.Request, sessions: Sessions) -> bool:
    """Whether the request is of somebody who may write."""
    return sessions.is_valid(request.cookies.get(SESSION_COOKIE, ""), time.time())


def _check_host(request: web.Request) -> None:
    """Refuse names that are not of this machine: a page elsewhere may have had its own name point here."""
    try:
        host = urlsplit(f"//{request.host}").hostname
    except ValueError:
        host = None
    if host not in _OWN_HOSTS:
        raise web.HTTPMisdirectedRequest(text="The console answers to localhost, 127.0.0.1 and [::1] only.")


async def _form(request: web.Request) -> Mapping[str, object]:
    """The fields of the form; aiohttp keeps them for who asks later."""
    try:
        return await request.post()
    except web.HTTPException:
        raise
    except Exception:  # cut short, in no charset or compression that is known, or otherwise not what it says
        raise web.HTTPBadRequest(text="The form cannot be read.") from None


async def _check_form(request: web.Request, sessions: Sessions) -> None:
    """Refuse forms of other sites, and of those who are not signed in unless that is what they are about to do."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise web.HTTPForbidden(text="The form was sent from another site.")
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.host}":
        raise web.HTTPForbidden(text="The form was sent from another site.")
    if request.content_type != _FORM:
        raise web.HTTPUnsupportedMediaType(text="Only forms can be sent here.")
    if request.path == LOGIN_PATH:
        cookie = request.cookies.get(VISITOR_COOKIE, "")
    elif is_signed_in(request, sessions):
        cookie = request.cookies[SESSION_COOKIE]
    else:
        raise web.HTTPForbidden(text="Sign in first: your session is over, or there was none.")
    key = (await _form(request)).get(FORM_KEY)
    if not isinstance(key, str) or not sessions.is_form_key(key, cookie):
        raise web.HTTPForbidden(text="The form is too old, or was not made here: go back, reload and try again.")
