"""``python -m arqube_local.monitoring``: run the load of ``stage``, and draw both dashboards into docs/."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from arqube_local.monitoring import dashboards, picture, stage
from arqube_local.monitoring.prometheus import find_binary

DOCS: Final = Path(__file__).resolve().parents[3] / "docs"
_AFTER_S: Final = 30.0
"""How long the load's end is watched: workers go."""
_STEP_S: Final = 1.0


def main() -> int:
    """Draw; the exit code: 1 without a Prometheus, or where a query had no data."""
    parser = argparse.ArgumentParser(prog="python -m arqube_local.monitoring", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long the load lasts")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of the pictures")
    options = parser.parse_args()
    binary = find_binary()
    if binary is None:
        sys.stderr.write("prometheus is not installed: Debian's package prometheus has it\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="arqube-monitoring-") as folder:
        return asyncio.run(_draw(binary, Path(folder), options.seconds, options.output))


async def _draw(binary: str, folder: Path, seconds: float, output: Path) -> int:
    async with stage.staged(binary, folder) as staged:
        await staged.play(seconds)
        await asyncio.sleep(_AFTER_S)
        span = (staged.began, time.time())
        whole = True
        for path in dashboards.files():
            dashboard = json.loads(path.read_text())
            values = {**stage.VARIABLES, "taskqueue": stage.CHOSEN[dashboard["uid"]]}
            shown = await picture.results(staged.prometheus, dashboard, values, span, _STEP_S)
            whole = whole and picture.spans_whole(shown)
            picture.draw(dashboard, shown, span, output / f"dashboard-{path.stem}.png")
    return 0 if whole else 1


if __name__ == "__main__":
    raise SystemExit(main())
