"""``arqube check``: what it prints, its exit code, and that no project brings it down."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from arqube_local.cli import main
from builders.project import WELL_WRITTEN, found

PROJECTS = Path(__file__).parents[2] / "projects"


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments], env={"COLUMNS": "100"})


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The well-written project, on disk."""
    for path, text in WELL_WRITTEN.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(dedent(text).lstrip("\n"))
    return tmp_path


def spoil(app: Path, file: str, old: str, new: str) -> None:
    text = (app / file).read_text()
    assert old in text
    (app / file).write_text(text.replace(old, new))


def test_nothing_found_is_said_and_is_no_error(app: Path) -> None:
    done = check(str(app))
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "nothing found in 5 Python files\n"


def test_warnings_are_no_error(app: Path) -> None:
    spoil(app, "app/worker.py", "minute=0", "minute=0, unique=False")
    done = check(str(app))
    assert done.exit_code == 0
    assert done.stderr.startswith("1 warning in")


def test_an_error_is_one_for_the_shell_and_stands_first(app: Path) -> None:
    spoil(app, "app/worker.py", "max_tries=5", "max_tries=1")
    spoil(app, "app/worker.py", "minute=0", "minute=0, unique=False")
    done = check(str(app))
    assert done.exit_code == 1
    heading, first, *others = done.stdout.splitlines()
    assert heading.split()[:2] == ["LEVEL", "WHERE"]
    assert first.startswith("error    app/worker.py:20")
    assert any(line.startswith("warning") for line in others)
    assert any(line.strip().startswith("-> allow more: func(") for line in others), "the remedy"
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_json_is_for_programs(app: Path) -> None:
    spoil(app, "app/worker.py", "minute=0", "minute=0, unique=False")
    told = json.loads(check(str(app), "--json").stdout)
    assert (told["errors"], told["warnings"], told["notes"]) == (0, 1, 0)
    (finding,) = told["findings"]
    assert (finding["rule"], finding["level"], finding["file"]) == ("cron-not-unique", "warning", "app/worker.py")
    assert finding["line"] > 1
    assert finding["remedy"]


def test_a_manifest_from_elsewhere_is_looked_at_too(app: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("deploy") / "queue.yaml"
    elsewhere.write_text((app / "taskqueue.yaml").read_text().replace("queueName: mail", "queueName: post"))
    done = check(str(app), "-f", str(elsewhere), "--json")
    assert done.exit_code == 1
    assert [each["file"] for each in json.loads(done.stdout)["findings"]] == [str(elsewhere)]


def test_a_manifest_of_the_project_is_looked_at_once(app: Path) -> None:
    spoil(app, "taskqueue.yaml", ":1.4.2", "")
    done = check(str(app), "-f", str(app / "taskqueue.yaml"), "--json")
    assert [each["file"] for each in json.loads(done.stdout)["findings"]] == ["taskqueue.yaml"]


def test_a_manifest_may_be_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "queue.yaml").write_text(dedent(WELL_WRITTEN["taskqueue.yaml"]).replace(":1.4.2", ""))
    done = check("-f", "queue.yaml", "--json")
    assert [each["rule"] for each in json.loads(done.stdout)["findings"]] == ["image-latest"]
    (tmp_path / "other.yaml").write_text("kind: Deployment")
    assert "other.yaml holds no TaskQueue" in check("-f", "other.yaml").output


def test_with_a_python_the_settings_are_imported(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(
        "import os\nasync def send(ctx): ...\n"
        "class WorkerSettings:\n    functions = [send]\n    max_jobs = int(os.environ['SLOTS'])\n"
    )
    command = ["check", str(tmp_path), "--json", "--python", sys.executable]
    failed = CliRunner().invoke(
        main, ["check", str(tmp_path), "--json", "--python", sys.executable], env={"SLOTS": "x"}
    )
    assert failed.exit_code == 1
    (error,) = [each for each in json.loads(failed.stdout)["findings"] if each["level"] == "error"]
    assert error["rule"] == "not-importable"
    assert "ValueError" in error["what"]
    fine = CliRunner().invoke(main, command, env={"SLOTS": "3"})
    assert fine.exit_code == 0, fine.output


def test_links_to_nothing_and_files_of_bytes_are_passed_over(app: Path) -> None:
    (app / "gone.py").symlink_to(app / "no-such-file.py")
    (app / "bytes.py").write_bytes(b"\xff\xfe")
    assert check(str(app)).exit_code == 0


def test_what_cannot_be_looked_at_is_told(tmp_path: Path, app: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no Python" in check(str(empty)).output
    assert "name one such as .venv/bin/python" in check(str(app), "--python", "./no/python").output


@pytest.mark.parametrize(
    ("project", "rules"),
    [
        ("cron_only", {"pickled-payloads"}),
        ("dict_settings", {"pickled-payloads", "unknown-setting"}),
        ("factory", {"pickled-payloads", "timeout-beyond-shutdown"}),
        ("fastapi_template", {"handle-signals", "pickled-payloads", "runs-as-root"}),
        ("inherited", {"inherited-settings", "pickled-payloads", "timeout-beyond-shutdown"}),
        ("own_serializer", set()),
        ("several", {"pickled-payloads", "timeout-beyond-shutdown"}),
    ],
)
def test_projects_as_people_write_them_have_these_findings_and_no_others(project: str, rules: set[str]) -> None:
    done = check(str(PROJECTS / project), "--json")
    assert {each["rule"] for each in json.loads(done.stdout)["findings"]} == rules


LINES = [(path, number) for path, text in WELL_WRITTEN.items() for number in range(len(text.splitlines()))]


@example([(("taskqueue.yaml", 5), "drop")])  # the path of the settings is gone
@pytest.mark.timeout(300)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(["drop", "double", "cut", "swap"])), max_size=6))
def test_a_spoilt_project_is_looked_at_all_the_same(changes: list[tuple[tuple[str, int], str]]) -> None:
    """Lines that are missing, doubled, cut or out of order: whatever is found, nothing breaks."""
    texts = {path: text.splitlines() for path, text in WELL_WRITTEN.items()}
    for (path, number), change in changes:
        lines = texts[path]
        if number >= len(lines) - 1:
            continue
        if change == "drop":
            del lines[number]
        elif change == "double":
            lines.insert(number, lines[number])
        elif change == "cut":
            lines[number] = lines[number][: len(lines[number]) // 2]
        else:
            lines[number], lines[number + 1] = lines[number + 1], lines[number]
    for finding in found({path: "\n".join(lines) for path, lines in texts.items()}):
        assert finding.what
        assert finding.remedy
