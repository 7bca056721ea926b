"""What a project's metadata asks for, in the forms of pip and Poetry."""

from __future__ import annotations

import pytest

from arqube_local.adoption.dependencies import dependencies, project_name
from arqube_local.adoption.dockerfile import read_dockerfile
from arqube_local.adoption.sources import Project

POETRY = """
[tool.poetry]
name = "shop"
version = "0.4.0"

[tool.poetry.dependencies]
arq = {constraint}
"""


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        ('"^0.25"', "0.25.9", "0.26.0"),
        ('"^0.25.1"', "0.25.1", "0.25.0"),
        ('"^1.2"', "1.9.0", "2.0.0"),
        ('"^1"', "1.9.0", "2.0.0"),
        ('"~0.26"', "0.26.3", "0.27.0"),
        ('"~=0.26.1"', "0.26.9", "0.27.0"),
        ('">=0.25,<0.28"', "0.27.5", "0.28.0"),
        ('"0.26.3"', "0.26.3", "0.26.2"),
        ('{version = "^0.25", extras = ["watch"]}', "0.25.0", "0.26.0"),
    ],
)
def test_poetrys_constraints_are_bounds(constraint: str, inside: str, outside: str) -> None:
    (found,) = dependencies(Project.of_texts({"pyproject.toml": POETRY.replace("{constraint}", constraint)}))
    assert (found.name, str(found.place)) == ("arq", "pyproject.toml:7")
    assert found.versions.contains(inside)
    assert not found.versions.contains(outside)


def test_any_version_will_do_where_none_is_named() -> None:
    files = {"requirements.txt": "arq\n", "pyproject.toml": POETRY.replace("{constraint}", '"*"')}
    assert [str(each.versions) for each in dependencies(Project.of_texts(files))] == ["", ""]


def test_lines_of_a_requirements_file_are_told_apart() -> None:
    text = "# all\n-r base.txt\n\nArq[watch]>=0.26 ; python_version > '3.9'\nno requirement\nhttpx==0.28 # pinned\n"
    found = dependencies(Project.of_texts({"requirements-prod.txt": text}))
    assert [(each.name, str(each.versions), each.place.line) for each in found] == [
        ("arq", ">=0.26", 4),
        ("httpx", "==0.28", 6),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[project]\nname = "shop"\nversion = "1.0"', ("shop", "1.0")),
        ('[project]\nname = "shop"\ndynamic = ["version"]', ("shop", "latest")),
        (POETRY.replace("{constraint}", '"*"'), ("shop", "0.4.0")),
        ("[tool.black]\nline-length = 88", None),
        ("no = toml = at all", None),
    ],
)
def test_the_projects_name_and_version(text: str, name: tuple[str, str] | None) -> None:
    assert project_name(Project.of_texts({"pyproject.toml": text})) == name


DOCKERFILE = """
# syntax=docker/dockerfile:1
ARG VERSION=3.12
FROM python:${VERSION}-slim AS base
ENV HOME=/app \\
    # where it listens
    PORT=80
USER 1000

FROM node:22 AS pages
USER node

FROM --platform=$BUILDPLATFORM base
RUN pip install arq && \\
    true
CMD ["arq", "app.Settings"]
"""


def test_the_last_stage_stands_on_the_one_that_it_names() -> None:
    found = read_dockerfile("Dockerfile", DOCKERFILE)
    assert found is not None
    assert (found.base, str(found.base_at)) == ("python:3.12-slim", "Dockerfile:4")
    assert [each.name for each in found.instructions] == ["ENV", "USER", "RUN", "CMD"]
    command = found.last("CMD")
    assert command is not None
    assert (command.words, command.place.line) == (["arq", "app.Settings"], 16)
    assert found.variables == {"HOME", "PORT"}


def test_a_file_without_a_stage_is_none() -> None:
    assert read_dockerfile("Dockerfile", "# python\nARG A=1\n") is None
