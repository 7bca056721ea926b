"""The users of docs/redis.md on a server, as the page says for older servers, and what they were refused."""

from __future__ import annotations

from redis.asyncio import Redis


async def grant(admin: Redis, user: str, rules: list[str]) -> None:
    """Make ``user`` anew with the rules of the page."""
    version = await _version(admin)
    if version < (7, 0):
        rules = [rule.replace("%R~", "~") for rule in rules]
    if version < (6, 2):
        rules = [rule for rule in rules if rule != "resetchannels"]
        rules += ["+hello"] if "+client|tracking" in rules else []
    await admin.execute_command("ACL", "SETUSER", user, "reset", *rules)  # type: ignore[no-untyped-call]


async def denials(admin: Redis) -> set[tuple[str, str]]:
    """What users were refused, as pairs of user and command or key.

    Without what redis-py asks for on its own account, and does without: CLIENT SETINFO. Before Redis 7 the log does not
    tell it from the rest of CLIENT.
    """
    itself = "client|setinfo" if await _version(admin) >= (7, 0) else "client"
    denied = {(entry["username"], entry["object"]) for entry in await admin.acl_log()}
    return {(user, what) for user, what in denied if what != itself}


async def _version(admin: Redis) -> tuple[int, int]:
    major, minor = str((await admin.info("server"))["redis_version"]).split(".")[:2]
    return int(major), int(minor)
