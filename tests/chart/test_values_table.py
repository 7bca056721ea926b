"""The table of values is made of the comments in values.yaml, and the pages hold what they say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The module, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("arqube_values_table", ROOT / "charts/values_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path: Path, made: ModuleType) -> Path:
    """A copy of the pages and of what they are made from."""
    for name in ("charts/arqube/values.yaml", "charts/arqube/README.md", "docs/chart.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def test_the_pages_are_up_to_date(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert made.main(["--check"]) == 0, capsys.readouterr().out


def test_a_page_behind_the_values_is_told_and_written(
    made: ModuleType, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = repository / "charts/arqube/values.yaml"
    values.write_text(values.read_text().replace("replicas: 2", "replicas: 3"))
    assert made.main(["--check", f"--root={repository}"]) == 1
    assert "+| `replicas` | `3` |" in capsys.readouterr().out
    assert made.main([f"--root={repository}"]) == 0
    assert made.main(["--check", f"--root={repository}"]) == 0


def test_every_value_has_one_row(made: ModuleType) -> None:
    text = (ROOT / "charts/arqube/values.yaml").read_text()
    names = [row.name for row in made.rows(text)]
    assert len(set(names)) == len(names)
    assert {name.split(".")[0] for name in names} == set(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param("# -- How many.\na: 1\n", [("a", 1, "How many.")], id="a value"),
        pytest.param("# -- How\n# many.\na: 1\n", [("a", 1, "How many.")], id="a description of two lines"),
        pytest.param("a:\n  # -- How many.\n  b: 1\n", [("a.b", 1, "How many.")], id="a value in another"),
        pytest.param("# -- All.\na:\n  b: 1\n", [("a", {"b": 1}, "All.")], id="a value described as a whole"),
        pytest.param("# Ours.\n\n# -- How many.\na: 1\n", [("a", 1, "How many.")], id="a comment for the reader"),
    ],
)
def test_a_row_is_a_value_with_its_description(made: ModuleType, values: str, expected: list[object]) -> None:
    assert [(row.name, row.default, row.text) for row in made.rows(values)] == expected


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param("# Not for the table.\na: 1\n", "a", id="a value without a description"),
        pytest.param("# -- All.\nb: 1\na: {}\n", "a", id="a mapping that is empty"),
        pytest.param("- 1\n", "no mapping", id="a list"),
    ],
)
def test_values_that_make_no_table_are_refused_by_name(made: ModuleType, values: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        made.rows(values)


def test_a_page_without_its_marks_is_refused(made: ModuleType) -> None:
    with pytest.raises(ValueError, match="marks"):
        made.page("# A page\n", "")
