"""KEDA's part beside a real HPA, for a ScaledObject with one Redis trigger: its metric, and from zero to one and back.

As KEDA 2.21 does: the value of a sorted set is its ZCARD, read whenever the HPA asks (``useCachedMetrics`` is off by
default); each ``pollingInterval`` the Deployment goes from 0 to 1 when that is above 0, and to 0 once it has not been
for ``cooldownPeriod``. All between is the HPA's. The code is ours, and one process stands for KEDA's two.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import structlog
from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from arqube_operator.kube.client import DEPLOYMENTS, ApiError, KubeClient

GROUP: Final = "external.metrics.k8s.io"
VERSION: Final = f"{GROUP}/v1beta1"
ROOT: Final = f"/apis/{VERSION}"
PORT: Final = 6443
TLS: Final = "/etc/keda/tls"
MANAGER: Final = "keda"

NAMESPACE: Final = os.environ["KEDA_NAMESPACE"]
DEPLOYMENT: Final = os.environ["KEDA_DEPLOYMENT"]
QUEUE: Final = os.environ["KEDA_QUEUE"]
METRIC: Final = os.environ["KEDA_METRIC"]
POLLING_S: Final = float(os.environ["KEDA_POLLING_S"])
COOLDOWN_S: Final = float(os.environ["KEDA_COOLDOWN_S"])

log = structlog.get_logger(__name__)


class Trigger:
    """The Redis trigger: how many jobs the queue holds."""

    def __init__(self) -> None:
        self._redis = Redis(host=os.environ["KEDA_REDIS_HOST"], socket_timeout=3, socket_connect_timeout=3)

    async def value(self) -> int:
        """Members of the sorted set: waiting, running and deferred jobs alike."""
        return int(await self._redis.zcard(QUEUE))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


class MetricsServer:
    """The external metrics API, as far as an HPA and the API server's aggregation ask for it."""

    def __init__(self, trigger: Trigger) -> None:
        self._trigger = trigger

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application()
        app.add_routes(
            [web.get(ROOT, self._discovery), web.get(f"{ROOT}/namespaces/{{namespace}}/{{metric}}", self._values)]
        )
        return app

    async def _discovery(self, request: web.Request) -> web.Response:
        resource = {
            "name": "externalmetrics",
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION, "resources": [resource]}
        return web.json_response(body)

    async def _values(self, request: web.Request) -> web.Response:
        if (request.match_info["namespace"], request.match_info["metric"]) != (NAMESPACE, METRIC):
            raise web.HTTPNotFound
        try:
            value = await self._trigger.value()
        except RedisError as error:
            log.warning("metric_failed", error=str(error))
            raise web.HTTPServiceUnavailable from error
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        item = {"metricName": METRIC, "metricLabels": {}, "timestamp": now, "value": str(value)}
        return web.json_response(
            {"kind": "ExternalMetricValueList", "apiVersion": VERSION, "metadata": {}, "items": [item]}
        )


async def poll(trigger: Trigger, client: KubeClient) -> None:
    """From zero to one and back, each ``pollingInterval``."""
    active_at = time.monotonic()
    while True:
        try:
            value = await trigger.value()
            if value > 0:
                active_at = time.monotonic()
            deployment = await client.get(DEPLOYMENTS, NAMESPACE, DEPLOYMENT)
            replicas = deployment["spec"]["replicas"] if deployment else None
            if replicas == 0 and value > 0:
                await client.scale(DEPLOYMENTS, NAMESPACE, DEPLOYMENT, 1, field_manager=MANAGER)
                log.info("activated", value=value)
            elif replicas and time.monotonic() - active_at > COOLDOWN_S:
                await client.scale(DEPLOYMENTS, NAMESPACE, DEPLOYMENT, 0, field_manager=MANAGER)
                log.info("deactivated", replicas=replicas)
        except (ApiError, RedisError) as error:
            log.warning("poll_failed", error=str(error))
        await asyncio.sleep(POLLING_S)


async def polling(app: web.Application) -> AsyncIterator[None]:
    """Poll while the server runs."""
    client = await KubeClient.from_config()
    task = asyncio.create_task(poll(app[TRIGGER], client))
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await client.close()
    await app[TRIGGER].close()


TRIGGER: Final = web.AppKey("trigger", Trigger)


def main() -> None:
    """Serve until asked to end."""
    trigger = Trigger()
    app = MetricsServer(trigger).app()
    app[TRIGGER] = trigger
    app.cleanup_ctx.append(polling)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{TLS}/tls.crt", f"{TLS}/tls.key")
    web.run_app(app, port=PORT, ssl_context=context, print=None)


if __name__ == "__main__":
    main()
