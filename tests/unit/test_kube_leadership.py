"""When a Lease may be taken, by the clock of the one who looks at it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.kube.leadership import LeaderElector, Observation

HELD: dict[str, Any] = {
    "holderIdentity": "other",
    "leaseDurationSeconds": 10,
    "renewTime": "2026-01-01T00:00:00.000000Z",
}


@pytest.mark.parametrize(
    ("spec", "seen_for_s", "free"),
    [
        pytest.param({}, 0, True, id="nobody ever held it"),
        pytest.param({**HELD, "holderIdentity": ""}, 0, True, id="its holder released it"),
        pytest.param({**HELD, "holderIdentity": "me"}, 0, True, id="we hold it, perhaps from before a restart"),
        pytest.param(HELD, 0, False, id="another holds it"),
        pytest.param(HELD, 9.9, False, id="another's sign is nearly too old"),
        pytest.param(HELD, 10, True, id="another gave no sign for the whole lease"),
        pytest.param({**HELD, "leaseDurationSeconds": 60}, 10, False, id="the holder was promised more than we are"),
        pytest.param({**HELD, "renewTime": "1990-01-01T00:00:00.000000Z"}, 1, False, id="the holder's clock is behind"),
        pytest.param({**HELD, "renewTime": "2090-01-01T00:00:00.000000Z"}, 11, True, id="the holder's clock is ahead"),
    ],
)
def test_whether_a_lease_is_free(spec: dict[str, Any], seen_for_s: float, free: bool) -> None:
    observation = Observation({}, -math.inf).updated(spec, 100.0)
    assert observation.free_to("me", 100.0 + seen_for_s) is free


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), min_size=1))
def test_a_holder_that_renews_in_time_is_never_replaced(looks: list[tuple[float, bool]]) -> None:
    """However often it is looked at, and whichever looks see a renewal, as long as one in ten seconds does."""
    now, renewed_at, count = 0.0, 0.0, 0
    observation = Observation({}, -math.inf).updated({**HELD, "renewTime": 0}, now)
    for pause_s, renews in looks:
        now += pause_s
        if renews or now - renewed_at >= 10:
            count, renewed_at = count + 1, now
        observation = observation.updated({**HELD, "renewTime": count}, now)
        assert not observation.free_to("me", now)


def test_a_lease_must_outlast_a_late_renewal() -> None:
    with pytest.raises(ValueError, match="lease_duration_s"):
        LeaderElector(None, "n", "l", "a", lease_duration_s=4, renew_interval_s=2)  # type: ignore[arg-type]
