"""What the console refuses and hides: other sites' forms and names, guesses of the token, texts that are markup."""

from __future__ import annotations

import asyncio
import pickle
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from arqube_operator.console.sessions import SESSION_S, Sessions, Throttle
from arqube_operator.observe.cluster import Key

Serve = Callable[..., Awaitable[Any]]

LETTERS = "/queues/shop/emails/dead-letters"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/", 200, id="the list"),
        pytest.param("/queues/shop/emails", 200, id="a queue"),
        pytest.param(LETTERS, 200, id="dead letters"),
        pytest.param("/queues/shop/emails/job?id=lost-1", 200, id="a job"),
        pytest.param("/login", 200, id="the sign-in"),
        pytest.param("/static/console.css", 200, id="a file"),
        pytest.param("/nowhere", 404, id="no page"),
        pytest.param("/logout", 405, id="the wrong method"),
        pytest.param("/queues/shop/none", 404, id="no queue"),
        pytest.param("/queues/shop/emails/job?id=none", 404, id="no job"),
        pytest.param("/queues/shop/emails/job", 404, id="no id"),
        pytest.param(f"/queues/shop/emails/job?id={'x' * 3000}", 404, id="a huge id"),
        pytest.param(f"/queues/shop/{'x' * 3000}", 404, id="a huge name"),
        pytest.param("/static/..%2f..%2fsessions.py", 404, id="a path out of the folder"),
        pytest.param("/static/%2e%2e/routes.py", 404, id="the same in dots"),
        pytest.param("/static//etc/passwd", 404, id="a path from the root"),
        pytest.param("/queues/..%2f..%2fetc/passwd", 404, id="a path in a queue's name"),
        pytest.param("/?q=%00%ff%fe", 200, id="bytes that are no text"),
        pytest.param(f"{LETTERS}?at=99999999999999999999&after=%00", 200, id="a cursor out of range"),
        pytest.param(f"{LETTERS}?retried=99999999999999999999&queued=-1", 200, id="counts out of range"),
    ],
)
async def test_every_answer_has_the_headers(busy_shop: Any, serve: Serve, path: str, status: int) -> None:
    visit = await serve()
    async with visit.session.get(URL(f"{visit.url}{path}", encoded=True), allow_redirects=False) as answer:
        assert answer.status == status
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        text = await answer.text()
        assert "sessions" not in text
        assert "root:" not in text


async def test_no_page_holds_a_script_or_a_style_of_its_own(busy_shop: Any, serve: Serve, token_file: Path) -> None:
    visit = await serve(token_file)
    await visit.sign_in()
    for path in ("/", "/queues/shop/emails", LETTERS, "/queues/shop/emails/job?id=lost-1", "/login", "/nowhere"):
        _, text = await visit.get(path)
        assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []
        assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []
        assert re.findall(r'(?:src|href|action)="(?!/|#|\?)', text) == []


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("localhost", 200, id="localhost"),
        pytest.param("localhost:9999", 200, id="another port, as kubectl may forward one"),
        pytest.param("127.0.0.1", 200, id="the address"),
        pytest.param("[::1]:8081", 200, id="the other address"),
        pytest.param("rebound.example", 421, id="a name that somebody has pointed here"),
        pytest.param("localhost.rebound.example", 421, id="one that begins well"),
        pytest.param("127.0.0.1.nip.example", 421, id="one that looks like the address"),
        pytest.param("[", 421, id="what is no name"),
        pytest.param("localhost@rebound.example", 421, id="a user at another host"),
    ],
)
async def test_other_names_are_refused(busy_shop: Any, serve: Serve, host: str, status: int) -> None:
    visit = await serve()
    async with visit.session.get(f"{visit.url}/", headers={"Host": host}) as answer:
        assert answer.status == status
        assert "Content-Security-Policy" in answer.headers
        assert ("shop" in await answer.text()) is (status == 200)


@pytest.mark.parametrize("where", ["job_id", "function", "error", "traceback", "worker", "reason"])
async def test_markup_of_others_is_text(scene: Any, serve: Serve, where: str) -> None:
    scene.task_queue()
    job_id = MARKUP if where == "job_id" else "job"
    await scene.bury(job_id, **({} if where == "job_id" else {where: MARKUP}))
    await scene.read()
    visit = await serve()
    for path in ("/queues/shop/emails", LETTERS, f"/queues/shop/emails/job?id={URL.build(path=job_id).raw_path}"):
        _, text = await visit.get(path.replace("&", "%26").replace("+", "%2B"))
        assert "<script>alert" not in text
        assert "<img" not in text


async def test_markup_of_workers_and_status_is_text(scene: Any, serve: Serve, stamped: Any) -> None:
    scene.task_queue(status={"conditions": [stamped("WorkersAvailable", "False", "Failing", MARKUP)]})
    await scene.beat("<script>alert(1)</script>", 1, finished={"<script>alert(2)</script>": 1})
    await scene.read()
    visit = await serve()
    for path in ("/", "/queues/shop/emails", "/?q=<script>alert(3)</script>"):
        _, text = await visit.get(path)
        assert "<script>alert" not in text
        assert "<img" not in text


async def test_characters_that_reverse_or_end_lines_are_marked(scene: Any, serve: Serve) -> None:
    scene.task_queue()
    await scene.bury("job", error="paid\u202edekcah", traceback="first\nsecond\x1b[2J\x00")
    await scene.read()
    _, text = await (await serve()).get("/queues/shop/emails/job?id=job")
    assert not set("\u202e\x1b\x00") & set(text)
    assert "first\nsecond\ufffd[2J\ufffd" in text


async def test_an_enormous_id_is_cut_and_no_page_breaks(scene: Any, serve: Serve, token_file: Path) -> None:
    scene.task_queue()
    await scene.bury("x" * 500_000)
    await scene.read()
    visit = await serve(token_file)
    for path in ("/queues/shop/emails", LETTERS):
        status, text = await visit.get(path)
        assert status == 200
        assert "too long an id to open" in text
        assert len(text) < 100_000


async def test_no_page_tells_a_password(scene: Any, serve: Serve, token_file: Path) -> None:
    secret = "n0t-to-be-seen"  # noqa: S105
    scene.task_queue(redis={"urlFrom": {"name": "redis", "key": "url"}})
    scene.address = replace(scene.address, username="someone-secret", password=secret)
    key = Key("shop", "emails")
    scene.observer.watch(key, scene.address, scene.query(key))
    await scene.eventually(lambda: scene.observer.reading(key).problem, within_s=30)
    visit = await serve(token_file)
    await visit.sign_in()
    for path in ("/", "/queues/shop/emails", LETTERS, "/queues/shop/emails/job?id=x"):
        _, text = await visit.get(path)
        for hidden in (secret, "someone-secret", visit.token):
            assert hidden not in text


class Bomb:
    """Would tell that it was loaded."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('loaded')",))


async def test_a_hostile_payload_is_shown_and_put_back_without_being_loaded(
    scene: Any, serve: Serve, token_file: Path
) -> None:
    scene.task_queue()
    bomb = pickle.dumps({"t": 1, "f": "send", "a": (Bomb(),), "k": {}, "et": 1})
    await scene.bury("bomb", payload=bomb, function="")
    await scene.read()
    visit = await serve(token_file, show_arguments=True)
    await visit.sign_in()
    _, text = await visit.get("/queues/shop/emails/job?id=bomb")
    assert "SystemExit" in text
    key = await visit.form_key(LETTERS)
    await visit.post(f"{LETTERS}/retry", {"form_key": key, "job": "bomb"})
    assert await scene.redis.get("arq:job:bomb") == bomb


async def test_without_a_token_nothing_can_be_changed(busy_shop: Any, serve: Serve) -> None:
    visit = await serve()
    for path in ("/", LETTERS, "/queues/shop/emails/job?id=lost-1", "/login"):
        _, text = await visit.get(path)
        assert 'method="post"' not in text
        assert "Read-only" in text
    status, _, _ = await visit.post("/login", {"form_key": "", "token": ""})
    assert status == 403
    status, _, _ = await visit.post(f"{LETTERS}/retry", {"form_key": "", "job": "lost-1"})
    assert status == 403
    assert await busy_shop.redis.zscore("arq:emails", "lost-1") is None


async def test_visitors_who_have_not_signed_in_change_nothing(busy_shop: Any, serve: Serve, token_file: Path) -> None:
    visit = await serve(token_file)
    _, text = await visit.get(LETTERS)
    assert 'method="post"' not in text
    key = await visit.form_key("/login")
    status, _, _ = await visit.post(f"{LETTERS}/retry", {"form_key": key, "job": "lost-1"})
    assert status == 403
    assert await busy_shop.redis.zscore("arq:emails", "lost-1") is None


@pytest.mark.parametrize(
    ("headers", "form", "status"),
    [
        pytest.param({"Origin": "http://other.example"}, {}, 403, id="from another site"),
        pytest.param({"Origin": "http://localhost:1"}, {}, 403, id="from another port of this machine"),
        pytest.param({"Origin": "null"}, {}, 403, id="from a page without an origin"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, {}, 403, id="from another site, as the browser says"),
        pytest.param({}, {"form_key": ""}, 403, id="without a key"),
        pytest.param({}, {"form_key": "0" * 64}, 403, id="with a key that is made up"),
        pytest.param({}, {"form_key": "\u00e9"}, 403, id="with a key that is no ASCII"),
        pytest.param({"Content-Type": "text/plain"}, {}, 415, id="as plain text, which any site may send"),
        pytest.param({}, {"job": ""}, 303, id="and one of ours, of a job that is none, is taken"),
    ],
)
async def test_forms_of_others_are_refused(
    busy_shop: Any, serve: Serve, token_file: Path, headers: dict[str, str], form: dict[str, str], status: int
) -> None:
    visit = await serve(token_file)
    await visit.sign_in()
    key = await visit.form_key(LETTERS)
    sent = {"form_key": key, "job": "lost-1", **form}
    body = "&".join(f"{name}={value}" for name, value in sent.items()) if "Content-Type" in headers else sent
    got, text, _ = await visit.post(f"{LETTERS}/retry", body, **headers)
    assert got == status
    assert await busy_shop.redis.zscore("arq:emails", "lost-1") is None
    if status != 303:
        assert "<h1>" in text


async def test_a_key_is_of_one_session(busy_shop: Any, serve: Serve, token_file: Path) -> None:
    visit = await serve(token_file)
    await visit.sign_in()
    key = await visit.form_key(LETTERS)
    await visit.post("/logout", {"form_key": key})
    await visit.sign_in()
    status, _, _ = await visit.post(f"{LETTERS}/retry", {"form_key": key, "job": "lost-1"})
    assert status == 403


async def test_the_session_s_cookie_is_kept_from_scripts_and_other_sites(
    scene: Any, serve: Serve, token_file: Path
) -> None:
    visit = await serve(token_file)
    key = await visit.form_key("/login")
    form = {"form_key": key, "token": visit.token}
    async with visit.session.post(
        f"{visit.url}/login", data=form, headers={"Origin": visit.url}, allow_redirects=False
    ) as answer:
        (cookie,) = [each for each in answer.headers.getall("Set-Cookie") if each.startswith("arqube-session=")]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert part in cookie
    assert visit.token not in cookie


async def test_after_a_wrong_token_no_other_is_looked_at_for_a_while(
    scene: Any, serve: Serve, token_file: Path
) -> None:
    visit = await serve(token_file)
    key = await visit.form_key("/login")
    guesses = [visit.post("/login", {"form_key": key, "token": f"guess-{number}"}) for number in range(20)]
    answers = await asyncio.gather(*guesses)
    statuses = [status for status, _, _ in answers]
    assert statuses.count(403) <= 4, "within 15 s no more than that many are looked at"
    assert statuses.count(429) >= 16
    assert all("wait a moment" in text for status, text, _ in answers if status == 429)


async def test_another_token_ends_the_sessions_of_the_one_before(
    busy_shop: Any, serve: Serve, token_file: Path
) -> None:
    visit = await serve(token_file)
    await visit.sign_in()
    assert 'action="/logout"' in (await visit.get("/"))[1]
    await asyncio.to_thread(token_file.write_text, "another-token-of-the-tests")
    assert 'action="/logout"' not in (await visit.get("/"))[1]
    assert await visit.sign_in("another-token-of-the-tests") == 303


async def test_a_form_that_is_too_long_is_refused(busy_shop: Any, serve: Serve, token_file: Path) -> None:
    visit = await serve(token_file)
    await visit.sign_in()
    status, text, _ = await visit.post(f"{LETTERS}/retry", {"job": "x" * 1_000_000})
    assert (status, "<h1>" in text) == (413, True)


def test_the_pauses_after_wrong_tokens_grow_and_have_an_end() -> None:
    throttle, now, pauses = Throttle(), 100.0, []
    for _ in range(12):
        assert throttle.wait_s(now) == 0
        throttle.failed(now)
        pauses.append(throttle.wait_s(now))
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
    throttle.succeeded()
    throttle.failed(now)
    assert throttle.wait_s(now) == 1


@pytest.mark.parametrize(
    ("content", "possible"),
    [
        pytest.param("0123456789abcdef\n", True, id="a token"),
        pytest.param("short", False, id="one that could be guessed"),
        pytest.param("", False, id="an empty file"),
        pytest.param(None, False, id="no file"),
    ],
)
def test_a_token_is_needed_to_sign_in(tmp_path: Path, content: str | None, possible: bool) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    sessions = Sessions(path)
    assert sessions.possible is possible
    assert (sessions.begin((content or "").strip(), 0) is not None) is possible
    assert sessions.begin("0123456789abcdeF", 0) is None
    assert sessions.begin("", 0) is None


def test_a_session_ends_and_cannot_be_made_longer(token_file: Path) -> None:
    sessions = Sessions(token_file)
    cookie = sessions.begin(token_file.read_text().strip(), 1000)
    assert cookie is not None
    assert sessions.is_valid(cookie, 1000 + SESSION_S - 1)
    assert not sessions.is_valid(cookie, 1000 + SESSION_S)
    nonce, expires, signature = cookie.split(".")
    for forged in (f"{nonce}.{int(expires) + 1}.{signature}", f"{nonce}.{expires}.", f"{nonce}.{expires}", "", "a.b.c"):
        assert not sessions.is_valid(forged, 1000)
    assert not Sessions(token_file).is_valid(cookie, 1000), "of another process"
