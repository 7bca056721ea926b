"""The alerting rules by Prometheus' own unit tests, which stand beside this file: one file an alert."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from arqube_worker.runs import Outcome

HERE = Path(__file__).parent
UNIT_TESTS = sorted(HERE.glob("*.yaml"))
RULES = HERE.parents[1] / "charts" / "arqube" / "rules" / "arqube.yaml"

NAMES = (
    "ArqubeQueueStuck",
    "ArqubeOldestJobTooOld",
    "ArqubeHighFailureRate",
    "ArqubeDeadLettersGrowing",
    "ArqubeAtMaxReplicasWithBacklog",
    "ArqubeReplicasMismatch",
    "ArqubeRedisUnreachable",
    "ArqubeOperatorDown",
)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_well_formed(promtool: str) -> None:
    run(promtool, "check", "rules", RULES)


@pytest.mark.parametrize("unit_test", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_recover_as_the_unit_tests_say(promtool: str, unit_test: Path) -> None:
    run(promtool, "test", "rules", unit_test)


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_is_seen_to_fire_to_recover_and_to_keep_silent(name: str) -> None:
    fires, recovers, keeps_silent = False, False, False
    for case in (case for path in UNIT_TESTS for case in yaml.safe_load(path.read_text())["tests"]):
        looks = [look for look in case["alert_rule_test"] if look["alertname"] == name]
        fired = [bool(look.get("exp_alerts")) for look in looks]
        fires |= any(fired)
        recovers |= any(fired) and not fired[-1]
        keeps_silent |= bool(fired) and not any(fired)
    assert (fires, recovers, keeps_silent) == (True, True, True)


def test_each_alert_says_what_is_wrong_how_bad_it_is_and_which_runbook_helps(alerts: dict[str, Any]) -> None:
    assert set(alerts) == set(NAMES)
    for name, rule in alerts.items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, name
        assert rule["annotations"]["runbook"] == name
        if name != "ArqubeOperatorDown":
            told = rule["annotations"]["summary"] + rule["annotations"]["description"]
            assert "{{ $labels.namespace }}/{{ $labels.taskqueue }}" in told, name
            assert "{{ $value" in told, name


def test_the_failure_rate_knows_each_outcome_of_a_job(alerts: dict[str, Any]) -> None:
    told = re.findall(r'outcome(=|!)~"([^"]+)"', alerts["ArqubeHighFailureRate"]["expr"])
    failures, unended = ({*names.split("|")} for names in (told[0][1], told[1][1]))
    assert [sign for sign, _ in told] == ["=", "!", "="]
    assert told[0] == told[2]
    assert failures | unended | {"succeeded"} == {outcome.value for outcome in Outcome}
    assert not failures & unended
