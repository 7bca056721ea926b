"""The operator's HTTP endpoints: all series, or those that are asked for by name."""

from __future__ import annotations

from aiohttp.test_utils import TestClient, TestServer

from arqube_local.monitoring import examples
from arqube_operator import server


async def test_metrics_are_told_whole_or_by_name() -> None:
    registry, _ = examples.operator()
    application = server.application(registry, lambda: None, lambda: None)
    async with TestClient(TestServer(application)) as client:
        whole = await (await client.get("/metrics")).text()
        some = await (await client.get("/metrics", params={"name[]": "arqube_operator_taskqueues"})).text()

    assert 'arqube_taskqueue_waiting_jobs{namespace="shop",taskqueue="emails"} 400.0' in whole
    assert [line for line in some.splitlines() if not line.startswith("#")] == ["arqube_operator_taskqueues 1.0"]
    assert "arqube_operator_taskqueues 1.0" in whole
