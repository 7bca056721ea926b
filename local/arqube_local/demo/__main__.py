"""``python -m arqube_local.demo``: the demo, and one line of JSON that says how it went."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Final

from arqube_local.cluster import LaptopCluster
from arqube_local.demo.record import draw
from arqube_local.demo.run import Demo, Result

CHART: Final = Path("demo.png")


def main() -> int:
    """Run the demo; 0 when every job ran exactly once to its end and all workers have gone again."""
    result = asyncio.run(_run())
    print(json.dumps(result.summary()), flush=True)  # noqa: T201 - what the command is for
    return 0 if result.is_flawless else 1


async def _run() -> Result:
    with tempfile.TemporaryDirectory(prefix="arqube-demo-") as folder:
        async with LaptopCluster(state_dir=Path(folder), app_dir=Path.cwd()) as cluster:
            demo = await Demo.start(cluster.kubeconfig, cluster.redis.address)
            try:
                result = await demo.run()
            finally:
                await demo.close()
    await asyncio.to_thread(draw, result.samples, result.steps, CHART)
    return result


if __name__ == "__main__":
    sys.exit(main())
