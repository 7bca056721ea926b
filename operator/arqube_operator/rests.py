"""The TaskQueues that rest: their readings are looked at here and need no pass of the reconcile loop."""

from __future__ import annotations

from dataclasses import dataclass, replace

from arqube_operator.decide.plan import decide
from arqube_operator.decide.rest import is_unchanged, rests_until
from arqube_operator.decide.state import Memory, State
from arqube_operator.observe.cluster import Key
from arqube_operator.observe.queues import Reading
from arqube_queue.model import QueueSnapshot


@dataclass(slots=True)
class _Rest:
    """``state`` as a pass left it, and the newest reading for which none was made, if any."""

    state: State
    until_s: float
    skipped: QueueSnapshot | None = None
    skipped_s: float = 0.0


class Rests:
    """Who rests, since which state and until when; times are Unix seconds."""

    def __init__(self) -> None:
        self._rests: dict[Key, _Rest] = {}

    def begin(self, key: Key, state: State, now: float) -> None:
        """Let ``key`` rest if ``state``, as a pass has left it at ``now``, allows."""
        if (until_s := rests_until(state, now)) is not None:
            self._rests[key] = _Rest(state, until_s)

    def covers(self, key: Key, reading: Reading, now: float) -> bool:
        """Whether ``key`` rests on, as ``reading`` tells nothing new."""
        rest = self._rests.get(key)
        if rest is None or rest.state.queue is None or now >= rest.until_s or reading.problem or not reading.snapshot:
            return False
        if not is_unchanged(rest.state.queue, reading.snapshot):
            return False
        rest.skipped, rest.skipped_s = reading.snapshot, now
        return True

    def end(self, key: Key, memory: Memory) -> Memory:
        """End the rest of ``key``, if it has one; ``memory`` as the newest pass that was left out would have made it.

        The policy learns from readings and their times: it is told of the last one that was like those before.
        """
        rest = self._rests.pop(key, None)
        if rest is None or rest.skipped is None:
            return memory
        missed = replace(rest.state, queue=rest.skipped, memory=memory)
        return replace(memory, scaling=decide(missed, rest.skipped_s).memory.scaling)

    def forget(self, key: Key) -> None:
        """Drop what is known of a TaskQueue that is gone."""
        self._rests.pop(key, None)
