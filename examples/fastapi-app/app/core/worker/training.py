"""A model trained in a process of its own: ``python -m app.core.worker.training POINTS EPOCHS`` prints it as JSON.

Training is Python that computes: in the worker's loop it would stop every other job, and its lease's renewal would be
all that lives; in a thread it would still take the interpreter's lock from them. A process has its own, gives its
memory back, and, unlike one of a pool, can be killed when the job is cancelled or takes too long.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any


class TrainingError(Exception):
    """The process ended without a model; the message is the end of what it said."""


async def train(points: int, epochs: int) -> dict[str, Any]:
    """Train in another process, which ends when this is cancelled.

    Raises:
        TrainingError: It failed, or was killed, as for its memory.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        str(points),
        str(epochs),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise TrainingError(f"exit {process.returncode}: {errors.decode(errors='replace')[-500:].strip()}")
    model: dict[str, Any] = json.loads(output)
    return model


def fit(points: int, epochs: int, rate: float = 0.1) -> dict[str, float]:
    """Fit a line to ``points`` points around y = 3x + 1 by gradient descent."""
    chance = random.Random(1)  # noqa: S311 - no secret
    xs = [chance.uniform(-1, 1) for _ in range(points)]
    ys = [3 * x + 1 + chance.gauss(0, 0.1) for x in xs]
    slope = intercept = 0.0
    for _ in range(epochs):
        errors = [slope * x + intercept - y for x, y in zip(xs, ys, strict=True)]
        slope -= rate * 2 * sum(error * x for error, x in zip(errors, xs, strict=True)) / points
        intercept -= rate * 2 * sum(errors) / points
    loss = sum((slope * x + intercept - y) ** 2 for x, y in zip(xs, ys, strict=True)) / points
    return {"slope": round(slope, 4), "intercept": round(intercept, 4), "loss": round(loss, 6)}


if __name__ == "__main__":
    print(json.dumps(fit(int(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201 - what the process is for
