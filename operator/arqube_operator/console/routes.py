"""The console's pages: who answers which request. What is in a page is made elsewhere; ``guard`` has let it through."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlencode

import structlog
from aiohttp import web
from redis.asyncio import Redis

from arqube_operator.console import arguments, queue_reads
from arqube_operator.console.guard import (
    FORM_KEY,
    LOGIN_PATH,
    SESSION_COOKIE,
    VISITOR_COOKIE,
    add_headers,
    guard,
    is_signed_in,
)
from arqube_operator.console.listing import Only, Wanted, listing, row
from arqube_operator.console.reads import Reads
from arqube_operator.console.rendering import LONGEST_LINK, Pages, Statics
from arqube_operator.console.sessions import SESSION_S, Sessions, Throttle, visitor
from arqube_operator.console.view import Seen, View
from arqube_operator.console.workers import workers
from arqube_operator.decide.explanation import remedy
from arqube_operator.decide.state import Problem
from arqube_operator.observe.cluster import Key
from arqube_operator.settings import ConsoleSettings
from arqube_queue import dead_letters
from arqube_queue.dead_letters import REASONS, Cursor, Filter, Outcome
from arqube_queue.payload import MOST

MOST_BODY: Final = 256 * 1024
"""Bytes of a form: a page of ids."""
LONGEST_TEXT: Final = 200
"""Characters of a text that is looked for."""
STATIC_LIFE_S: Final = 86_400

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Console:
    """The console of one operator process.

    Args:
        settings: How it is served.
        standby: Tells, in words, where to find the operator that leads; asked only while this one does not.
    """

    def __init__(self, settings: ConsoleSettings, standby: Callable[[], str]) -> None:
        self.view: View | None = None
        """What there is to see; None while another operator leads."""
        self._settings = settings
        self._standby = standby
        self._sessions = Sessions(settings.token_file)
        self._throttle = Throttle()
        self._reads = Reads()
        self._statics = Statics()
        self._pages = Pages(self._statics)

    def application(self) -> web.Application:
        """The console as an application of aiohttp's."""
        app = web.Application(middlewares=[guard(self._sessions, self._error)], client_max_size=MOST_BODY)
        app.on_response_prepare.append(add_headers)
        queue = "/queues/{namespace}/{name}"
        app.router.add_get("/", self._list)
        app.router.add_get(queue, self._queue)
        app.router.add_get(f"{queue}/dead-letters", self._letters)
        app.router.add_post(f"{queue}/dead-letters/retry", self._retry)
        app.router.add_get(f"{queue}/job", self._job)
        app.router.add_get(LOGIN_PATH, self._login_form)
        app.router.add_post(LOGIN_PATH, self._login)
        app.router.add_post("/logout", self._logout)
        app.router.add_get("/static/{name}", self._static)
        return app

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        wanted = Wanted(
            text=query.get("q", "")[:LONGEST_TEXT],
            only=_only(query.get("only", "")),
            page=_number(query.get("page", ""), 1),
        )
        found = listing(self._leading().all(), wanted)

        def link(**changes: Any) -> str:
            values = {"q": wanted.text, "only": wanted.only.value, "page": found.page, **changes}
            defaults = {"q": "", "only": Only.ALL.value, "page": 1}
            return "/?" + urlencode({name: value for name, value in values.items() if value != defaults[name]})

        return self._page(request, "queues", wanted=wanted, found=found, link=link, choices=tuple(Only))

    async def _queue(self, request: web.Request) -> web.Response:
        seen = self._seen(request)
        now_ms = _now_ms(seen)
        spec, scaling = seen.known.spec, seen.known.status.scaling
        work = await self._ask(
            seen, lambda redis, queue: queue_reads.read_work(redis, queue, seen.known.identity.uid, now_ms)
        )
        return self._page(
            request,
            "queue",
            seen=seen,
            row=row(seen),
            redis=seen.address.label if seen.address else None,
            remedy=remedy(spec.scaling, scaling.limit) if spec and scaling else None,
            workers=workers(seen),
            work=None if isinstance(work, Problem) else work,
            problem=work if isinstance(work, Problem) else None,
            now_ms=now_ms,
        )

    async def _letters(self, request: web.Request) -> web.Response:
        seen, query = self._seen(request), request.query
        reason = query.get("reason", "")
        chosen = Filter(
            function=query.get("function", "")[:LONGEST_TEXT] or None,
            reason=reason if reason in REASONS else None,
            error=query.get("error", "")[:LONGEST_TEXT] or None,
        )
        after = None
        if at := query.get("at"):
            after = Cursor(_number(at, 0), query.get("after", ""))
        page = await self._ask(seen, lambda redis, queue: queue_reads.read_letters(redis, queue, chosen, after))
        problem = page if isinstance(page, Problem) else None
        older = None
        if not isinstance(page, Problem) and page.cursor is not None:
            narrowed = {"function": chosen.function, "reason": chosen.reason, "error": chosen.error}
            last = page.cursor.job_id if len(page.cursor.job_id) <= LONGEST_LINK else ""
            place = {"at": page.cursor.died_ms, "after": last}
            older = "?" + urlencode({name: value for name, value in (narrowed | place).items() if value is not None})
        return self._page(
            request,
            "dead_letters",
            status=503 if problem else 200,
            seen=seen,
            chosen=chosen,
            reasons=REASONS,
            letters=() if isinstance(page, Problem) else page.letters,
            kept=seen.reading.snapshot.dead_letters if seen.reading.snapshot else None,
            older=older,
            first=after is None,
            problem=problem,
            told={outcome.value: _number(query.get(outcome.value, ""), 0) for outcome in Outcome},
            now_ms=_now_ms(seen),
        )

    async def _job(self, request: web.Request) -> web.Response:
        seen, job_id = self._seen(request), request.query.get("id", "")
        if not 0 < len(job_id) <= LONGEST_LINK:
            raise web.HTTPNotFound(text="There is no job of that id.")
        job = await self._ask(seen, lambda redis, queue: queue_reads.read_job(redis, queue, job_id))
        if job is None:
            raise web.HTTPNotFound(text="Nothing is known of a job of that id: it never was, or it ended long ago.")
        shown = None
        if not isinstance(job, Problem) and job.remains is not None and self._settings.show_arguments:
            shown = arguments.show(job.remains.payload)
        return self._page(
            request,
            "job",
            status=503 if isinstance(job, Problem) else 200,
            seen=seen,
            job_id=job_id,
            job=None if isinstance(job, Problem) else job,
            problem=job if isinstance(job, Problem) else None,
            arguments=shown,
            now_ms=_now_ms(seen),
        )

    async def _retry(self, request: web.Request) -> web.StreamResponse:
        seen, form = self._seen(request), await request.post()
        job_ids = [unquote(value) for value in form.getall("job", []) if isinstance(value, str)]
        if not job_ids:
            raise web.HTTPBadRequest(text="No job was chosen. Go back and tick those that are to run again.")
        outcomes = await self._ask(seen, lambda redis, queue: dead_letters.retry(redis, queue, job_ids))
        if isinstance(outcomes, Problem):
            raise web.HTTPServiceUnavailable(text=f"{outcomes.message}. Some of the jobs may have been put back.")
        counts = Counter(outcomes.values())
        log.info("console.retried", task_queue=str(seen.key), **{each.value: counts[each] for each in counts})
        told = urlencode({outcome.value: number for outcome, number in counts.items()})
        return _redirect(f"/queues/{seen.key}/dead-letters?{told}")

    async def _login_form(self, request: web.Request) -> web.Response:
        return self._login_page(request)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        wait_s = self._throttle.wait_s(time.monotonic())
        if wait_s > 0:
            response = self._login_page(request, "Too many wrong tokens: wait a moment, then try again.", 429)
            response.headers["Retry-After"] = str(int(wait_s) + 1)
            return response
        token = (await request.post()).get("token", "")
        session = self._sessions.begin(token, time.time()) if isinstance(token, str) else None
        if session is None:
            self._throttle.failed(time.monotonic())
            log.warning("console.login_refused")
            return self._login_page(request, "That is not the token.", 403)
        self._throttle.succeeded()
        log.info("console.login")
        response = _redirect("/")
        _set_cookie(response, SESSION_COOKIE, session)
        response.del_cookie(VISITOR_COOKIE, path="/")
        return response

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        response = _redirect("/")
        response.del_cookie(SESSION_COOKIE, path="/")
        return response

    async def _static(self, request: web.Request) -> web.Response:
        found = self._statics.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound(text="There is no such file.")
        caching = {"Cache-Control": f"max-age={STATIC_LIFE_S}"}
        return web.Response(body=found[0], content_type=found[1], charset="utf-8", headers=caching)

    def _leading(self) -> View:
        if self.view is None:
            raise web.HTTPServiceUnavailable(text=self._standby())
        return self.view

    def _seen(self, request: web.Request) -> Seen:
        match = request.match_info
        seen = self._leading().one(Key(match["namespace"], match["name"]))
        if seen is None:
            raise web.HTTPNotFound(text="There is no such TaskQueue, or this operator does not see to it.")
        return seen

    async def _ask(self, seen: Seen, question: Callable[[Redis, str], Awaitable[T]]) -> T | Problem:
        spec = seen.known.spec
        if spec is None:
            return Problem("InvalidSpec", "the TaskQueue cannot be understood, so its queue is not known")
        return await self._reads.ask(seen.address, lambda redis: question(redis, spec.queue_name))

    def _login_page(self, request: web.Request, problem: str = "", status: int = 200) -> web.Response:
        cookie = request.cookies.get(VISITOR_COOKIE) or visitor()
        form_key = self._sessions.form_key(cookie)
        response = self._page(request, "login", status=status, problem=problem, visitor_key=form_key)
        _set_cookie(response, VISITOR_COOKIE, cookie)
        return response

    def _error(self, request: web.Request, status: int, text: str) -> web.Response:
        return self._page(request, "error", status=status, code=status, text=text)

    def _page(self, request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
        signed_in = is_signed_in(request, self._sessions)
        common = {
            "path": request.path,
            "signed_in": signed_in,
            "can_sign_in": self._sessions.possible,
            "form_key_name": FORM_KEY,
            "form_key": self._sessions.form_key(request.cookies[SESSION_COOKIE]) if signed_in else "",
        }
        text = self._pages.render(template, **common, **values)
        return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")


def _redirect(location: str) -> web.Response:
    """To another page of ours after a form was taken, so that a reload does not send it again."""
    return web.Response(status=303, headers={"Location": location})


def _set_cookie(response: web.Response, name: str, value: str) -> None:
    # Not Secure: the way here is http on loopback, inside the tunnel that kubectl has made.
    response.set_cookie(name, value, max_age=SESSION_S, path="/", httponly=True, samesite="Strict")


def _now_ms(seen: Seen) -> int:
    """The time by the queue's Redis, as what it keeps is told; by our clock before the first reading."""
    snapshot = seen.reading.snapshot
    return snapshot.at_ms if snapshot else int(time.time() * 1000)


def _number(text: str, default: int) -> int:
    """A whole number of a query, as far as Redis takes it."""
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(MOST)):
        return default
    return min(int(text), MOST)


def _only(text: str) -> Only:
    with suppress(ValueError):
        return Only(text)
    return Only.ALL
