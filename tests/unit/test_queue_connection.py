"""Where a Redis is, read from URLs and the environment; and that no error repeats a password."""

# ruff: noqa: S105, S106 - the passwords of tests

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_queue.connection import InvalidAddressError, RedisAddress, Tls, parse_sentinels

SECRET = "hunter2"

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
HOSTS = st.one_of(
    st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,8})?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
PORTS = st.integers(1, 65535)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("redis://", RedisAddress(), id="nothing but a scheme is the local server"),
        pytest.param("redis://cache", RedisAddress("cache"), id="a host alone has arq's port and database"),
        pytest.param("redis://cache:7000/3", RedisAddress("cache", 7000, 3), id="port and database"),
        pytest.param("redis://cache/", RedisAddress("cache"), id="a slash alone is database 0"),
        pytest.param("redis://cache?db=3", RedisAddress("cache", database=3), id="arq's way of naming a database"),
        pytest.param("redis://cache/1?db=3", RedisAddress("cache", database=3), id="arq lets the query win"),
        pytest.param("redis://[::1]:7000/1", RedisAddress("::1", 7000, 1), id="an IPv6 address in brackets"),
        pytest.param(
            "redis://:p%40ss%2Fw@cache", RedisAddress("cache", password="p@ss/w"), id="a percent-encoded password"
        ),
        pytest.param(
            "redis://app:secret@cache", RedisAddress("cache", username="app", password="secret"), id="user and password"
        ),
        pytest.param(
            "redis://app@cache", RedisAddress("cache", username="app"), id="a user whose password comes later"
        ),
        pytest.param("rediss://cache", RedisAddress("cache", tls=Tls()), id="rediss speaks TLS"),
        pytest.param("redis://cache/2\n", RedisAddress("cache", database=2), id="a line break of a Secret's file"),
    ],
)
def test_a_url_names_a_server(url: str, expected: RedisAddress) -> None:
    assert RedisAddress.from_url(url) == expected


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        pytest.param("", "must begin with redis:// or rediss://", id="nothing"),
        pytest.param(f"http://:{SECRET}@cache", "must begin with redis:// or rediss://", id="another scheme"),
        pytest.param(f"redis://:{SECRET}@cache:port", "malformed host or port", id="a port that is no number"),
        pytest.param(f"redis://:{SECRET}@cache:70000", "malformed host or port", id="a port beyond the last"),
        pytest.param(f"redis://:{SECRET}@cache:0", "from 1 to 65535", id="port 0"),
        pytest.param(f"redis://:{SECRET}@[::1", "malformed host or port", id="a bracket that does not close"),
        pytest.param(f"redis://:{SECRET}@cache/zero", "database number", id="a database that is no number"),
        pytest.param(f"redis://:{SECRET}@cache/²", "database number", id="a digit that is no decimal"),
        pytest.param(f"redis://:{SECRET}@cache/-1", "database number", id="a negative database"),
        pytest.param(f"redis://:{SECRET}@cache/{'9' * 5000}", "database number", id="a database of 5,000 digits"),
        pytest.param(f"redis://:{SECRET}@cache?db=x", "database number", id="a queried database that is no number"),
        pytest.param(f"redis://cache?password={SECRET}", "no query but", id="options of another library"),
        pytest.param(f"redis://cache?db=1&password={SECRET}", "database number", id="more than the database"),
        pytest.param(f"redis://:12/{SECRET}@cache", "database number", id="a password with a bare slash"),
        pytest.param(f"redis://:12?{SECRET}@cache", "percent-encoded", id="a password with a bare question mark"),
        pytest.param(f"redis://:12#{SECRET}@cache", "percent-encoded", id="a password with a bare hash"),
        pytest.param(f"redis://:a#{SECRET}@cache", "percent-encoded", id="one with a hash after a letter"),
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(url: str, complaint: str) -> None:
    with pytest.raises(InvalidAddressError) as refusal:
        RedisAddress.from_url(url)

    assert complaint in str(refusal.value)
    assert SECRET not in str(refusal.value)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None  # nor does its traceback


@given(
    address=st.builds(
        RedisAddress,
        host=HOSTS,
        port=PORTS,
        database=st.integers(0, 65535),
        username=st.none() | TEXT,
        password=st.none() | TEXT,
        tls=st.sampled_from([None, Tls()]),
    )
)
def test_every_address_survives_its_url(address: RedisAddress) -> None:
    host = f"[{address.host}]" if ":" in address.host else address.host
    credentials = quote(address.username or "", safe="")
    if address.password:
        credentials += ":" + quote(address.password, safe="")
    if credentials:
        credentials += "@"
    scheme = "rediss" if address.tls else "redis"

    assert RedisAddress.from_url(f"{scheme}://{credentials}{host}:{address.port}/{address.database}") == address


@given(url=st.one_of(st.text(), st.text().map("redis://{}".format), st.text().map("redis://:pw@host{}".format)))
def test_every_text_is_an_address_or_an_error_of_ours(url: str) -> None:
    try:
        address = RedisAddress.from_url(url)
    except InvalidAddressError:
        return
    assert 1 <= address.port <= 65535
    assert 0 <= address.database <= 65535


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, None, id="nothing names no server"),
        pytest.param({"PORT": "1", "PASSWORD": SECRET}, None, id="a port and a password name no server"),
        pytest.param({"HOST": "cache"}, RedisAddress("cache"), id="a host"),
        pytest.param(
            {"HOST": "cache", "PORT": "7000", "DATABASE": "3", "USERNAME": "app", "PASSWORD": "secret"},
            RedisAddress("cache", 7000, 3, "app", "secret"),
            id="all of a server's fields",
        ),
        pytest.param(
            {"URL": "redis://a:b@cache:7000/3", "HOST": "other", "PORT": "1"},
            RedisAddress("cache", 7000, 3, "a", "b"),
            id="a URL before a host",
        ),
        pytest.param(
            {"URL": "redis://a:b@cache/3", "USERNAME": "app", "PASSWORD": "secret", "DATABASE": "4"},
            RedisAddress("cache", database=4, username="app", password="secret"),
            id="fields lie over the URL",
        ),
        pytest.param({"HOST": "cache", "PASSWORD": "s\n"}, RedisAddress("cache", password="s"), id="a line break goes"),
        pytest.param({"HOST": "cache", "PASSWORD": ""}, RedisAddress("cache"), id="an empty password is none"),
        pytest.param(
            {"SENTINELS": "s1, s2:7000,[::1]:7001", "SENTINEL_MASTER": "jobs", "DATABASE": "1"},
            RedisAddress(sentinels=(("s1", 26379), ("s2", 7000), ("::1", 7001)), sentinel_master="jobs", database=1),
            id="sentinels",
        ),
        pytest.param({"SENTINELS": "s1"}, RedisAddress(sentinels=(("s1", 26379),)), id="the usual master's name"),
        pytest.param(
            {"SENTINELS": "s1", "SENTINEL_USERNAME": "app", "SENTINEL_PASSWORD": "s\n", "PASSWORD": "other"},
            RedisAddress(sentinels=(("s1", 26379),), sentinel_username="app", sentinel_password="s", password="other"),
            id="the sentinels' own user and password",
        ),
        pytest.param({"HOST": "cache", "TLS": "true"}, RedisAddress("cache", tls=Tls()), id="TLS"),
        pytest.param(
            {"HOST": "cache", "TLS": "True", "TLS_CA_FILE": "ca", "TLS_CERT_FILE": "cert", "TLS_KEY_FILE": "key"},
            RedisAddress("cache", tls=Tls("ca", "cert", "key")),
            id="mutual TLS",
        ),
        pytest.param(
            {"URL": "rediss://cache", "TLS_CA_FILE": "ca", "TLS_VERIFY": "false"},
            RedisAddress("cache", tls=Tls("ca", verify=False)),
            id="TLS by URL, its details by fields",
        ),
        pytest.param({"HOST": "cache", "TLS_CA_FILE": "ca"}, RedisAddress("cache"), id="a CA alone is no TLS"),
        pytest.param({"URL": "rediss://cache", "TLS": "false"}, RedisAddress("cache"), id="TLS switched off"),
    ],
)
def test_the_environment_names_a_server(environ: dict[str, str], expected: RedisAddress | None) -> None:
    variables = {f"ARQUBE_REDIS_{name}": value for name, value in environ.items()}

    assert RedisAddress.from_environment(variables) == expected


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        pytest.param({"URL": f"redis://:{SECRET}@cache/x"}, "ARQUBE_REDIS_URL: the path", id="a wrong URL"),
        pytest.param({"HOST": "c", "PORT": "x"}, "ARQUBE_REDIS_PORT must be a whole number from 1", id="a worded port"),
        pytest.param({"HOST": "c", "PORT": "0"}, "ARQUBE_REDIS_PORT must be", id="port 0"),
        pytest.param({"HOST": "c", "PORT": "65536"}, "ARQUBE_REDIS_PORT must be", id="a port beyond the last"),
        pytest.param({"HOST": "c", "DATABASE": "-1"}, "ARQUBE_REDIS_DATABASE must be", id="a negative database"),
        pytest.param({"HOST": "c", "DATABASE": "²"}, "ARQUBE_REDIS_DATABASE must be", id="a digit that is no decimal"),
        pytest.param({"HOST": "c", "TLS": "yes"}, "ARQUBE_REDIS_TLS must be true or false", id="a yes"),
        pytest.param(
            {"HOST": "c", "TLS": "true", "TLS_VERIFY": "no"}, "ARQUBE_REDIS_TLS_VERIFY must be true or false", id="a no"
        ),
        pytest.param(
            {"HOST": "c", "TLS": "true", "TLS_CERT_FILE": "c"}, "ARQUBE_REDIS_TLS_KEY_FILE", id="a cert without its key"
        ),
        pytest.param({"SENTINELS": " , "}, "ARQUBE_REDIS_SENTINELS: at least one", id="no sentinel"),
        pytest.param({"SENTINELS": "a,b:x"}, "ARQUBE_REDIS_SENTINELS: entry 2", id="a sentinel's worded port"),
        pytest.param({"SENTINELS": ":26379"}, "ARQUBE_REDIS_SENTINELS: entry 1", id="a sentinel without a host"),
        pytest.param({"SENTINELS": "::1"}, "ARQUBE_REDIS_SENTINELS: entry 1", id="an IPv6 address without brackets"),
        pytest.param({"SENTINELS": f"u:{SECRET}@s:1"}, "ARQUBE_REDIS_SENTINELS: entry 1", id="a sentinel's password"),
    ],
)
def test_a_wrong_variable_is_named_and_no_password_repeated(environ: dict[str, str], complaint: str) -> None:
    variables = {f"ARQUBE_REDIS_{name}": value for name, value in environ.items()} | {"ARQUBE_REDIS_PASSWORD": SECRET}

    with pytest.raises(InvalidAddressError) as refusal:
        RedisAddress.from_environment(variables)

    assert complaint in str(refusal.value)
    assert SECRET not in str(refusal.value)


@given(pairs=st.lists(st.tuples(HOSTS, PORTS), min_size=1, max_size=10))
def test_sentinels_survive_their_text(pairs: list[tuple[str, int]]) -> None:
    text = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in pairs)

    assert parse_sentinels(text, source="sentinels") == tuple(pairs)


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        pytest.param({"host": "cache", "port": 7000, "database": 2}, "cache:7000/2", id="a server"),
        pytest.param({"host": "::1"}, "[::1]:6379/0", id="an IPv6 address"),
        pytest.param(
            {"sentinels": (("s1", 1), ("::1", 2)), "sentinel_master": "jobs"}, "jobs@s1:1,[::1]:2/0", id="sentinels"
        ),
    ],
)
def test_people_see_where_but_no_user_and_no_password(fields: dict[str, Any], label: str) -> None:
    address = RedisAddress(**fields, username="somebody", password=SECRET)

    assert address.label == label
    assert SECRET not in repr(address)
