"""What the console's pages show of queues, workers, jobs and dead letters, and what a retry does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arqube_operator.console.reads import Reads
from arqube_operator.observe.cluster import Key
from arqube_queue import dead_letters
from builders.relay import Door

Serve = Callable[..., Awaitable[Any]]
SHOP = Key("shop", "emails")


async def test_the_list_shows_depth_workers_and_why(busy_shop: Any, serve: Serve) -> None:
    status, text = await (await serve()).get("/")

    assert status == 200
    for shown in ("203", "2 / 3", "of 3", "More would help, but no more are allowed", "MaxReplicas"):
        assert shown in text
    assert 'href="/queues/shop/emails"' in text


async def test_a_queue_that_was_not_read_yet_has_no_figures(scene: Any, serve: Serve) -> None:
    scene.task_queue()

    _, text = await (await serve()).get("/")

    assert "The operator has not decided yet" in text
    assert ' data-label="Waiting">–<' in text  # noqa: RUF001 - as it is written


async def test_trouble_is_told_in_the_list_and_on_the_page(scene: Any, serve: Serve, stamped: Any) -> None:
    scene.task_queue(status={"conditions": [stamped("WorkersAvailable", "False", "ImagePullFailed", "no such tag")]})
    scene.task_queue(Key("shop", "well"))
    visit = await serve()

    for path in ("/", "/?only=trouble", "/queues/shop/emails"):
        _, text = await visit.get(path)
        assert "ImagePullFailed" in text
        assert "no such tag" in text
    assert "shop/</span>well" not in (await visit.get("/?only=trouble"))[1]


async def test_a_task_queue_that_cannot_be_understood_is_shown_with_the_field(scene: Any, serve: Serve) -> None:
    scene.task_queue(scaling={"minReplicas": "many"})
    visit = await serve()

    for path in ("/", "/queues/shop/emails", "/queues/shop/emails/dead-letters"):
        _, text = await visit.get(path)
        assert "InvalidSpec" in text
    assert "minReplicas" in (await visit.get("/queues/shop/emails"))[1]


async def test_the_list_is_paged_and_searched(scene: Any, serve: Serve) -> None:
    for number in range(230):
        scene.task_queue(Key("many", f"queue-{number:03}"))
    visit = await serve()

    _, second = await visit.get("/?page=2")
    assert "Page 2 of 3" in second
    assert "queue-100" in second
    assert "queue-099" not in second
    _, found = await visit.get("/?q=QUEUE-22")
    assert found.count('href="/queues/many/') == 10
    _, beyond = await visit.get("/?page=99999999999999999999")
    assert "Page 1 of 3" in beyond


async def test_a_queue_tells_why_it_has_so_many_workers(busy_shop: Any, serve: Serve) -> None:
    _, text = await (await serve()).get("/queues/shop/emails")

    assert "Why 3 workers?" in text
    for shown in ("Arrivals", "2.63", "13.8 jobs/s x 0.963 s", "Backlog", "7.91", "from 1 to 3", "ScalingUp"):
        assert shown in text
    assert "The jobs need more workers than spec.scaling.maxReplicas (3) allows. Raise it" in text


async def test_workers_are_shown_with_their_busy_slots(busy_shop: Any, serve: Serve) -> None:
    _, text = await (await serve()).get("/queues/shop/emails")

    assert "10 of 10 slots busy" in text
    assert "4 of 10 slots busy" in text
    assert "1,843" in text
    assert "3 failed" in text
    assert "ImagePullFailed: no such tag" in text


async def test_jobs_that_have_ended_lead_to_their_tries(busy_shop: Any, serve: Serve) -> None:
    visit = await serve()
    _, text = await visit.get("/queues/shop/emails")
    assert 'href="/queues/shop/emails/job?id=done-0"' in text

    _, text = await visit.get("/queues/shop/emails/job?id=done-0")
    for shown in ("send_email", "emails-worker-1", "retried", "TimeoutError: mail server", "420 ms", "succeeded"):
        assert shown in text


async def test_dead_letters_are_paged_and_filtered(busy_shop: Any, serve: Serve) -> None:
    for number in range(60):
        await busy_shop.bury(f"more-{number}", age_s=10_000 + number)
    visit = await serve()

    _, first = await visit.get("/queues/shop/emails/dead-letters")
    assert "lost-1" in first
    assert "more-47" in first
    assert "more-48" not in first
    older = first.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    _, second = await visit.get(f"/queues/shop/emails/dead-letters{older}")
    assert "more-48" in second
    assert "more-47" not in second
    _, timeouts = await visit.get("/queues/shop/emails/dead-letters?reason=timeout")
    assert "lost-2" in timeouts
    assert "lost-1" not in timeouts


async def test_a_dead_letter_is_shown_with_its_traceback(busy_shop: Any, serve: Serve) -> None:
    status, text = await (await serve()).get("/queues/shop/emails/job?id=lost-1")

    assert status == 200
    for shown in ("ValueError: no such mail", "File &#34;mail.py&#34;, line 3, in send", "failed", "emails-worker-1"):
        assert shown in text


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        pytest.param({"f": "send", "a": ["user-17"], "k": {}}, "user-17", id="JSON is read"),
        pytest.param(None, "user-17", id="a pickle is shown as bytes"),
    ],
)
async def test_arguments_are_shown_only_where_that_is_allowed(
    scene: Any, serve: Serve, payload: dict[str, Any] | None, shown: str
) -> None:
    scene.task_queue()
    await scene.bury("job", **({} if payload is None else {"payload": json.dumps(payload)}))
    await scene.read()

    _, hidden = await (await serve()).get("/queues/shop/emails/job?id=job")
    _, allowed = await (await serve(show_arguments=True)).get("/queues/shop/emails/job?id=job")

    assert shown not in hidden
    assert "Arguments are hidden" in hidden
    assert shown in allowed


async def test_dead_letters_that_are_chosen_run_again(busy_shop: Any, serve: Serve, token_file: Path) -> None:
    visit = await serve(token_file)
    assert await visit.sign_in() == 303
    key = await visit.form_key("/queues/shop/emails/dead-letters")

    form = [("form_key", key), ("job", "lost-1"), ("job", "lost-2"), ("job", "never-was")]
    status, _, place = await visit.post("/queues/shop/emails/dead-letters/retry", form)

    assert status == 303
    _, text = await visit.get(place)
    assert "2 put back." in text
    assert "1 not found." in text
    assert await dead_letters.count(busy_shop.redis, "arq:emails") == 0
    assert await busy_shop.redis.zscore("arq:emails", "lost-1") is not None


async def test_odd_ids_are_put_back_as_they_are(scene: Any, serve: Serve, token_file: Path) -> None:
    odd = "a/b?c=d&e %2F\r\n\u202e\u00e9'\"<"
    scene.task_queue()
    await scene.bury(odd)
    await scene.read()
    visit = await serve(token_file)
    await visit.sign_in()
    _, text = await visit.get("/queues/shop/emails/dead-letters")
    key = text.partition('name="form_key" value="')[2].partition('"')[0]
    chosen = text.partition('name="job" value="')[2].partition('"')[0]
    link = text.partition("/queues/shop/emails/job?id=")[2].partition('"')[0]
    assert (await visit.get(f"/queues/shop/emails/job?id={link}"))[0] == 200

    await visit.post("/queues/shop/emails/dead-letters/retry", {"form_key": key, "job": chosen})

    assert await scene.redis.zscore("arq:emails", odd) is not None


async def test_without_redis_the_rest_of_the_page_is_there(scene: Any, serve: Serve) -> None:
    scene.task_queue(status={"conditions": []})
    visit = await serve()

    status, text = await visit.get("/queues/shop/emails")
    assert (status, "Jobs cannot be shown" in text) == (200, True)
    status, text = await visit.get("/queues/shop/emails/dead-letters")
    assert (status, "does not know the queue" in text) == (503, True)


async def test_a_right_that_the_operators_user_lacks_is_named(scene: Any, serve: Serve) -> None:
    user = ("ACL", "SETUSER", "scaler", "reset", "on", ">s3cret", "~*", "+time", "+zcard")
    await scene.redis.execute_command(*user)
    scene.address = replace(scene.address, username="scaler", password="s3cret")  # noqa: S106
    scene.task_queue()
    scene.observer.watch(SHOP, scene.address, scene.query(SHOP))
    visit = await serve()

    status, text = await visit.get("/queues/shop/emails/dead-letters")

    await scene.redis.execute_command("ACL", "DELUSER", "scaler")
    assert (status, "lacks a right to look at jobs" in text) == (503, True)
    assert "s3cret" not in text


async def test_a_redis_that_hangs_holds_up_its_page_alone(scene: Any, serve: Serve) -> None:
    async with Door(scene.address.port, held=b"") as hanging:
        scene.address = replace(scene.address, port=hanging.port)
        scene.task_queue()
        scene.observer.watch(SHOP, scene.address, scene.query(SHOP))
        visit = await serve()
        visit.console._reads = Reads(timeout_s=3)
        asked = [asyncio.create_task(visit.get("/queues/shop/emails/dead-letters")) for _ in range(10)]

        status, _ = await visit.get("/")

        assert status == 200
        assert not any(each.done() for each in asked), "the list has not waited for them"
        for status, text in await asyncio.gather(*asked):
            assert (status, "did not answer within 3 s" in text) == (503, True)


async def test_a_page_of_a_queue_asks_redis_for_a_bounded_amount(scene: Any, serve: Serve) -> None:
    scene.task_queue()
    await scene.wait(5000)
    for number in range(300):
        await scene.bury(f"dead-{number}")
    await scene.read()
    visit = await serve()
    await scene.observer.close()

    async def calls() -> int:
        stats = await scene.redis.info("commandstats")
        return sum(each["calls"] for each in stats.values())

    before = await calls()
    status, _ = await visit.get("/queues/shop/emails")
    assert status == 200
    assert await calls() - before < 1500
    before = await calls()
    await visit.get("/")
    assert await calls() - before <= 2, "the list asks nothing"


async def test_a_standby_says_who_leads(scene: Any, serve: Serve) -> None:
    visit = await serve()
    visit.console.view = None

    status, text = await visit.get("/")

    assert status == 503
    assert "operator-2 leads" in text
