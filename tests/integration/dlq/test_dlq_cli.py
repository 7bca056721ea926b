"""``arqube dlq`` as people and scripts call it, on a real Redis."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
from click.testing import Result
from redis.asyncio import Redis

from arqube_local.cli.dlq import Choice, Moment
from arqube_local.redis_server import RedisServer, free_port
from arqube_queue import dead_letters, keys

QUEUE = "mail"

Cli = Callable[..., Awaitable[Result]]
Bury = Callable[..., Awaitable[None]]


async def left(redis: Redis) -> set[str]:
    return {member.decode() for member in await redis.zrange(keys.dead_letters(QUEUE), 0, -1)}


@pytest.mark.usefixtures("four")
async def test_the_list_is_a_table_the_newest_first(cli: Cli) -> None:
    done = await cli("list")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["JOB", "ID", "FUNCTION", "REASON", "TRIES", "AGE", "ERROR"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["new", "send", "failed"],
        ["slow", "send", "timeout"],
        ["bill", "bill", "failed"],
        ["old", "?", "expired"],
    ]
    assert lines[4].split()[4] == "8d"
    assert lines[1].endswith("ValueError: no such mail")
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        pytest.param(["--function", "bill"], ["bill"], id="by function"),
        pytest.param(["--reason", "timeout"], ["slow"], id="by reason"),
        pytest.param(["--error", "price"], ["bill"], id="by text of the error"),
        pytest.param(["--since", "36h"], ["new", "slow"], id="younger than"),
        pytest.param(["--older-than", "2d"], ["bill", "old"], id="older than"),
        pytest.param(["--since", "4d", "--until", "2d"], ["bill"], id="within two times"),
        pytest.param(["--until", "2020-01-31T12:00Z"], [], id="by a time"),
        pytest.param(["--function", "send", "--reason", "failed"], ["new"], id="all of several"),
        pytest.param(["--oldest-first", "--limit", "2"], ["old", "bill"], id="the oldest first"),
        pytest.param(["--all"], ["new", "slow", "bill", "old"], id="all"),
    ],
)
@pytest.mark.usefixtures("four")
async def test_filters_and_order(cli: Cli, arguments: list[str], found: list[str]) -> None:
    done = await cli("list", "--json", *arguments)
    assert [letter["job_id"] for letter in json.loads(done.stdout)] == found
    assert done.exit_code == 0


@pytest.mark.usefixtures("four")
async def test_a_list_that_is_cut_says_so(cli: Cli) -> None:
    done = await cli("list", "--limit", "3")
    assert len(done.stdout.splitlines()) == 4
    assert "the first 3 of those asked for; mail has 4 in all. --all shows every one" in done.stderr
    assert "in all" not in (await cli("list", "--limit", "4")).stderr


async def test_an_empty_list_says_so_and_is_no_failure(cli: Cli) -> None:
    done = await cli("list")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no dead letters in mail\n")
    assert (await cli("list", "-o", "json")).stdout == "[]\n"


@pytest.mark.usefixtures("four")
async def test_json_has_times_and_sizes(cli: Cli) -> None:
    (letter,) = json.loads((await cli("list", "-o", "json", "--function", "bill")).stdout)
    died_at, payload_bytes = letter.pop("died_at"), letter.pop("payload_bytes")
    assert died_at.endswith("Z")
    assert payload_bytes > 20
    assert letter == {
        "job_id": "bill",
        "function": "bill",
        "reason": "failed",
        "error": "KeyError: 'Price'",
        "tries": 5,
        "enqueued_at": "2023-11-14T22:13:20.000Z",
        "worker": "pod-1",
    }


async def test_show_tells_all_that_is_kept(cli: Cli, bury: Bury) -> None:
    await bury("new", payload=b"\x80bytes")
    told = (await cli("show", "new")).stdout
    assert "Function: send" in told
    assert "Enqueued: 2023-11-14T22:13:20.000Z" in told
    assert "Payload:  6 bytes" in told
    assert '  File "mail.py", line 3, in send' in told
    document = json.loads((await cli("show", "new", "--json")).stdout)
    assert base64.b64decode(document["payload"]) == b"\x80bytes"
    assert document["traceback"].startswith("Traceback")


async def test_show_of_none_fails(cli: Cli) -> None:
    done = await cli("show", "none")
    assert (done.exit_code, done.stderr) == (1, "Error: there is no dead letter of job 'none'\n")


async def test_what_a_job_wrote_cannot_command_the_terminal(cli: Cli, bury: Bury) -> None:
    await bury("new", error="\x1b[2Jgone\nnext\u202e", traceback="\x1b]0;title\x07", worker="\x9b")
    for arguments in (["list"], ["show", "new"], ["show", "new", "--json"], ["list", "--json"]):
        told = (await cli(*arguments)).stdout
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(told)
        assert "gone" in told


@pytest.mark.parametrize(
    ("arguments", "retried", "without_payload"),
    [
        pytest.param(["--function", "send"], {"new", "slow"}, 0, id="by a filter"),
        pytest.param(["--older-than", "1d"], {"slow", "bill"}, 1, id="by time"),
        pytest.param(["--all"], {"new", "slow", "bill"}, 1, id="all"),
        pytest.param(["new", "bill", "new"], {"new", "bill"}, 0, id="named, one of them twice"),
        pytest.param(["old"], set(), 1, id="named, without its payload"),
    ],
)
@pytest.mark.usefixtures("four")
async def test_retry_puts_back_what_is_meant(
    cli: Cli, redis: Redis, arguments: list[str], retried: set[str], without_payload: int
) -> None:
    counts = {"retried": len(retried), "missing": 0, "without_payload": without_payload, "queued": 0}

    tried = await cli("retry", "--dry-run", "--json", *arguments)
    assert json.loads(tried.stdout) == {"dry_run": True, **counts}
    assert await redis.zcard(QUEUE) == 0

    done = await cli("retry", "--json", *arguments)
    assert json.loads(done.stdout) == {"dry_run": False, **counts}
    assert {member.decode() for member in await redis.zrange(QUEUE, 0, -1)} == retried
    assert await left(redis) == {"new", "slow", "bill", "old"} - retried
    assert done.exit_code == tried.exit_code == (1 if without_payload else 0)
    assert ("its payload had expired" in done.stderr) == bool(without_payload)


@pytest.mark.usefixtures("four")
async def test_retry_tells_of_each_named_job_that_it_leaves(cli: Cli, redis: Redis) -> None:
    await redis.set(keys.JOB_PREFIX + "slow", "another")
    done = await cli("retry", "new", "slow", "old", "none")
    assert done.stdout == "retried 1\n"
    assert done.stderr.splitlines() == [
        "slow: a job of the same id is queued or runs",
        "old: its payload had expired, so nothing is left to run",
        "none: there is no such dead letter",
    ]
    assert done.exit_code == 1


async def test_a_long_retry_shows_its_progress_and_retries_each_once(cli: Cli, redis: Redis, bury: Bury) -> None:
    for index in range(2 * dead_letters.PAGE + 50):
        await bury(f"job-{index}", function="abc"[index % 3])
    done = await cli("retry", "--function", "a", "--json")
    assert json.loads(done.stdout)["retried"] == await redis.zcard(QUEUE) == 150
    assert "Retrying" in done.stderr
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "purged"),
    [
        pytest.param(["--older-than", "7d"], {"old"}, id="older than"),
        pytest.param(["--function", "send"], {"new", "slow"}, id="by a filter"),
        pytest.param(["--all"], {"new", "slow", "bill", "old"}, id="all"),
        pytest.param(["new", "old", "new"], {"new", "old"}, id="named, one of them twice"),
        pytest.param(["--function", "none"], set(), id="none"),
    ],
)
@pytest.mark.parametrize("way", ["--yes", "asked"])
@pytest.mark.usefixtures("four")
async def test_purge_forgets_what_is_meant(
    cli: Cli, redis: Redis, arguments: list[str], purged: set[str], way: str
) -> None:
    tried = await cli("purge", "--dry-run", "--json", *arguments)
    assert json.loads(tried.stdout) == {"dry_run": True, "purged": len(purged)}
    assert len(await left(redis)) == 4

    if way == "asked":
        done = await cli("purge", *arguments, typed="y\n")
        assert (f"Forget {len(purged)} dead letters of mail for good?" in done.stderr) == bool(purged)
    else:
        done = await cli("purge", "-y", *arguments)
        assert "Forget" not in done.output
    assert done.stdout == f"purged {len(purged)}\n"
    assert done.exit_code == 0
    assert await left(redis) == {"new", "slow", "bill", "old"} - purged
    assert len(await redis.keys(keys.dead_letter(QUEUE, "*"))) == 4 - len(purged)


def test_what_dies_after_the_command_began_is_never_meant() -> None:
    now_ms, later = 1_000_000, Moment(2_000_000, before_now=False)
    for until in (None, later, Moment(0, before_now=True)):
        assert Choice(None, None, None, None, until).filter(now_ms).until_ms == now_ms


@pytest.mark.parametrize("typed", ["n\n", ""], ids=["no", "nobody answers"])
@pytest.mark.usefixtures("four")
async def test_nothing_is_purged_without_a_yes(cli: Cli, redis: Redis, typed: str) -> None:
    done = await cli("purge", "--all", typed=typed)
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(await left(redis)) == 4


@pytest.mark.usefixtures("four")
async def test_purging_what_is_not_there_fails(cli: Cli) -> None:
    done = await cli("purge", "-y", "new", "none")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "purged 1\n", "1 of those named are no dead letters\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["retry"], "Say which in one way: job ids", id="nothing is chosen"),
        pytest.param(["purge", "--all", "--function", "send"], "Say which in one way", id="all of some"),
        pytest.param(["retry", "job", "--all"], "Say which in one way", id="one and all"),
        pytest.param(["list", "--reason", "bored"], "'bored' is not one of 'failed'", id="an unknown reason"),
        pytest.param(["list", "--since", "soon"], "neither an age such as 7d", id="no time"),
        pytest.param(["list", "--limit", "0"], "0 is not in the range x>=1", id="a list of none"),
    ],
)
async def test_wrong_use_is_told(cli: Cli, arguments: list[str], told: str) -> None:
    done = await cli(*arguments)
    assert done.exit_code == 2
    assert told in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param([], "Name the queue: --taskqueue NAME, or --redis URL", id="no queue"),
        pytest.param(["--taskqueue", "a", "--queue", "b"], "leave out --redis and --queue", id="two queues"),
        pytest.param(["-n", "mail"], "go with --taskqueue", id="a namespace alone"),
    ],
)
async def test_a_queue_is_named_in_one_way(invoke: Cli, arguments: list[str], told: str) -> None:
    done = await invoke("list", *arguments)
    assert done.exit_code == 2
    assert told in done.stderr


@pytest.mark.usefixtures("four")
async def test_the_environment_of_a_worker_names_the_queue(invoke: Cli, redis_server: RedisServer) -> None:
    address = redis_server.address
    environ = {
        "ARQUBE_REDIS_HOST": address.host,
        "ARQUBE_REDIS_PORT": str(address.port),
        "ARQUBE_QUEUE_NAME": QUEUE,
    }
    assert "bill" in (await invoke("list", environ=environ)).stdout
    assert "no dead letters in arq:queue" in (await invoke("list", environ=environ | {"ARQUBE_QUEUE_NAME": ""})).stderr


@pytest.mark.parametrize(
    ("url", "told"),
    [
        pytest.param(
            "http://x:secretpw@y", "Error: --redis: the Redis URL must begin with redis://", id="another scheme"
        ),
        pytest.param("redis://:secretpw@127.0.0.1:{free}", "cannot be reached from here", id="nobody there"),
        pytest.param("redis://:secretpw@{own}", "refuses user or password", id="a password where none is set"),
    ],
)
async def test_a_redis_that_cannot_be_used_is_told_without_its_password(
    invoke: Cli, redis_server: RedisServer, url: str, told: str
) -> None:
    own = f"127.0.0.1:{redis_server.address.port}"
    done = await invoke("list", "--redis", url.format(free=free_port(), own=own))
    assert done.exit_code == 1
    assert told in done.stderr
    assert "secretpw" not in done.output


async def test_a_password_that_is_missing_is_asked_for(invoke: Cli) -> None:
    with RedisServer(options=("--requirepass", "secretpw")) as server:
        done = await invoke("list", "--redis", server.url)
        assert (done.exit_code, "ARQUBE_REDIS_PASSWORD" in done.stderr) == (1, True)
        done = await invoke("list", "--redis", server.url, environ={"ARQUBE_REDIS_PASSWORD": "secretpw"})
        assert done.exit_code == 0


async def test_a_key_of_another_type_is_told(cli: Cli, redis: Redis) -> None:
    await redis.set(keys.dead_letters(QUEUE), "text")
    done = await cli("list")
    assert done.exit_code == 1
    assert "WRONGTYPE" in done.stderr


@pytest.mark.usefixtures("four")
async def test_the_command_itself_pipes_json_and_exits_as_told(redis_server: RedisServer) -> None:
    command = [sys.executable, "-c", "from arqube_local.cli import main; main()", "dlq"]
    named = ["--redis", redis_server.url, "--queue", QUEUE]

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)

    listed = await asyncio.to_thread(call, "list", *named, "--json")
    assert [letter["job_id"] for letter in json.loads(listed.stdout)] == ["new", "slow", "bill", "old"]
    purged = await asyncio.to_thread(call, "purge", *named, "--reason", "expired", "--yes")
    assert (purged.returncode, purged.stdout) == (0, "purged 1\n")
    assert (await asyncio.to_thread(call, "retry", *named, "old")).returncode == 1
    assert (await asyncio.to_thread(call, "retry", *named)).returncode == 2
