"""Fuzz the readers of what others write, one target after the other: ``python -m tests.fuzz --seconds 120``.

What is found is kept in ``corpus/<target>`` beside this file, where the tests give it to the target again; inputs that
reach new code are kept in ``build/fuzz``. Atheris is in ``locks/fuzz.txt`` (``make fuzz`` installs it).
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
MEMORY_MB: Final = 3000
LONGEST_INPUT: Final = 4096
SLOWEST_S: Final = 20
"""An input that takes so long is a finding."""


def main() -> int:
    """Fuzz all targets, or those named, for as long as asked; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="TARGET", help="all unless named")
    parser.add_argument("--seconds", type=int, default=120, help="for all targets together")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the inputs that are made")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return _fuzz(arguments.names[0], arguments.seconds, arguments.seed)
    sys.path.insert(0, str(FOLDER.parents[1]))
    from tests.fuzz.targets import TARGETS

    names = arguments.names or list(TARGETS)
    seconds = max(1, arguments.seconds // len(names))
    found = 0
    print(f"seed {arguments.seed}\n{'target':<12}{'inputs':>12}{'seconds':>9}  found")  # noqa: T201
    for name in names:
        inside = [sys.executable, "-m", "tests.fuzz", name, "--inside", "--seconds", str(seconds)]
        begun = time.monotonic()
        done = subprocess.run(
            [*inside, "--seed", str(arguments.seed)], cwd=FOLDER.parents[1], capture_output=True, text=True, check=False
        )
        inputs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
        kept = re.findall(r"Test unit written to (\S+)", done.stderr)
        told = kept[0] if kept else "" if done.returncode == 0 else done.stderr[-2000:]
        print(f"{name:<12}{inputs[0] if inputs else '?':>12}{time.monotonic() - begun:>9.0f}  {told}")  # noqa: T201
        if kept:
            print("\n".join(done.stderr.splitlines()[-40:]))  # noqa: T201
        found += done.returncode != 0
    return 1 if found else 0


def _fuzz(name: str, seconds: int, seed: int) -> int:
    import atheris  # type: ignore[import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["arqube_queue", "arqube_worker.logs", "arqube_local", "pickletools"]):
        from tests.fuzz import targets
    logging.disable()
    kept = FOLDER.parents[1] / "build" / "fuzz" / name
    kept.mkdir(parents=True, exist_ok=True)
    given = FOLDER / "corpus" / name
    given.mkdir(parents=True, exist_ok=True)
    options = [
        *(f"-max_total_time={seconds}", f"-seed={seed % 2**32}", f"-max_len={LONGEST_INPUT}"),
        *(f"-rss_limit_mb={MEMORY_MB}", f"-timeout={SLOWEST_S}", "-print_final_stats=1", "-verbosity=0"),
        f"-artifact_prefix={given}/found-",
    ]
    atheris.Setup([sys.argv[0], *options, str(kept), str(given)], lambda data: targets.check(name, data))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
