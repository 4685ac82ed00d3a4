"""`.drycc`: the schema, the lines that errors name, and that no value of a variable is repeated."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from builder.domain.dryccfile import DryccfileError, dockerfiles, join_dryccfile, parse_group
from builder.runner.documents import parse_document, read_dryccfile
from support.builds import MemoryTree

WEB = """\
kind: pipeline
ptype: web
build: {docker: docker/web.Dockerfile, arg: {PYTHON: "3.12"}}
env: {LOG_LEVEL: info, WORKERS: "4"}
run: {command: [python, manage.py, migrate], image: web, timeout: 300}
config: [jvm]
deploy: {command: [bash, -ec], args: ["exec gunicorn app:app"]}
"""


async def test_the_example_of_the_documentation() -> None:
    tree = MemoryTree({".drycc/web.yaml": WEB, ".drycc/config/jvm": "# size\nJVM_OPTIONS=-Xmx512m\n", "README": "x"})
    parsed = await read_dryccfile(tree)
    assert parsed["config"] == {"jvm": {"JVM_OPTIONS": "-Xmx512m"}}
    assert parsed["pipeline"] == {"web.yaml": yaml.safe_load(WEB)}
    assert dockerfiles(parsed) == {"web": ("docker/web.Dockerfile", {"PYTHON": "3.12"})}


@pytest.mark.parametrize("escape", ["\\0", "\\ud800"])
def test_text_that_nothing_can_hold_is_refused(escape: str) -> None:
    content = f'kind: pipeline\nptype: web\ndeploy: {{command: ["a{escape}b"]}}\n'.encode()
    with pytest.raises(DryccfileError, match=r"^\.drycc/web\.yaml line 3: "):
        parse_document("web.yaml", content)


async def test_only_the_top_level_is_read_in_order() -> None:
    worker = "kind: pipeline\nptype: worker\ndeploy: {}\n"
    tree = MemoryTree({".drycc/web.yml": WEB, ".drycc/a.yaml": worker, ".drycc/deep/x.yaml": "nonsense: ["})
    parsed = await read_dryccfile(tree)
    assert list(parsed) == ["pipeline"]
    assert list(parsed["pipeline"]) == ["a.yaml", "web.yml"]  # type: ignore[call-overload]


async def test_no_directory_is_no_dryccfile() -> None:
    assert await read_dryccfile(MemoryTree({"README": "x"})) == {}


async def test_groups_alone_are_refused() -> None:
    with pytest.raises(DryccfileError, match=r"^\.drycc: 'pipeline' is a required property"):
        await read_dryccfile(MemoryTree({".drycc/config/jvm": "A=1"}))


async def test_process_types_are_unique() -> None:
    with pytest.raises(DryccfileError) as caught:
        await read_dryccfile(MemoryTree({".drycc/a.yaml": WEB, ".drycc/b.yaml": WEB}))
    assert caught.value.detail == (
        ".drycc/b.yaml line 2: Pipeline's ptype must be unique: `web` is also in .drycc/a.yaml"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: pipeline\nptype: web\n", "line 1: 'deploy' is a required property"),
        ("kind: x\nptype: web\ndeploy: {}", "line 1: 'x' does not match '^pipeline$'"),
        (
            "kind: pipeline\nptype: web\ndeploy:\n  foo: 1\n",
            "line 4: Additional properties are not allowed ('foo' was unexpected)",
        ),
        ("kind: pipeline\nptype: w\ndeploy: {}", "line 2: The length of ptype must be between 3 and 63"),
        (
            "kind: pipeline\nptype: web\nenv:\n  A: hunter2\n  PIN: 4711\ndeploy: {}",
            "line 5: env.PIN is not of type 'string': put the value into quotes",
        ),
        (
            "kind: pipeline\nptype: web\ndeploy: {command: [a, 1]}",
            "line 3: deploy.command[1] is not of type 'string': put the value into quotes",
        ),
        (
            "kind: pipeline\nptype: web\ndeploy: {command: a}",
            "line 3: deploy.command is not of type 'array': write `[first, second]`",
        ),
        (
            "kind: pipeline\nptype: web\nrun:\n  timeout: soon\ndeploy: {}",
            "line 4: 'soon' is not of type 'integer'",
        ),
        (
            "kind: pipeline\nptype: web\nconfig: [jvm-config]\ndeploy: {}",
            r"line 3: 'jvm-config' does not match '^(?P<name>[a-z0-9]+(\.[a-z0-9]+)*)$'",
        ),
        (
            "kind: pipeline\nptype: web\nbuild:\n  docker: ../Dockerfile\ndeploy: {}",
            "line 4: build.docker is a path inside the repository",
        ),
        ("", "line 1: the document is not of type 'object': write `name: value` lines"),
        ("- a", "line 1: the document is not of type 'object': write `name: value` lines"),
        ("kind: pipeline\nkind: pipeline\n", "line 2: 'kind' occurs twice; keep one of them"),
        ("kind: [a\nptype: web", "line 2: not valid YAML: expected ',' or ']', but got ':'"),
        (
            "kind: a\n---\nkind: b",
            "line 2: not valid YAML: expected a single document in the stream, but found another document",
        ),
        ("kind: !!python/object:os.system x", "line 1: not valid YAML: could not determine a constructor"),
    ],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(DryccfileError) as caught:
        join_dryccfile([parse_document("web.yaml", text.encode())], {})
    assert caught.value.detail.startswith(f".drycc/web.yaml {message}")
    assert "4711" not in caught.value.detail


def test_file_names_with_hyphens_are_refused() -> None:
    with pytest.raises(DryccfileError, match="rename the file"):
        join_dryccfile([parse_document("my-web.yaml", WEB.encode())], {})


def test_merge_keys_and_anchors_work() -> None:
    text = "kind: pipeline\nptype: web\nenv: &e {A: a}\nbuild:\n  arg:\n    <<: *e\n    B: b\ndeploy: {}\n"
    parsed = join_dryccfile([parse_document("web.yaml", text.encode())], {})
    assert dockerfiles(parsed) == {"web": ("Dockerfile", {"A": "a", "B": "b"})}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcde", "bcdef", strict=True)),
        "a: &a [*a]",
        "[" * 5000,
    ],
)
def test_yaml_bombs_are_refused(text: str) -> None:
    with pytest.raises(DryccfileError):
        parse_document("web.yaml", text.encode())


def test_a_group_is_read_without_expansion() -> None:
    content = b'\xef\xbb\xbfA=1\r\n\n# no\nB_2=a = $A "x"\nC.d-e=\n'
    assert parse_group("jvm", content) == {"A": "1", "B_2": 'a = $A "x"', "C.d-e": ""}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "jvm",
            b"A=1\nhunter2\n",
            ".drycc/config/jvm line 2: does not match the pattern 'key=var', ex: MODE=test",
        ),
        ("jvm", b" A=1", ".drycc/config/jvm line 1: does not match the pattern 'key=var', ex: MODE=test"),
        ("jvm", b"A=1\nB=\xff", ".drycc/config/jvm line 2: not valid UTF-8; save the file as UTF-8"),
    ],
)
def test_a_bad_line_of_a_group_is_not_repeated(name: str, content: bytes, message: str) -> None:
    with pytest.raises(DryccfileError) as caught:
        parse_group(name, content)
    assert caught.value.detail == message


def test_group_names_follow_the_pattern() -> None:
    with pytest.raises(DryccfileError, match="the file's name is the group's name"):
        parse_group("jvm-config", b"A=1")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["kind", "ptype", "deploy", "build", "docker", "arg", "env", "run", "command", "config", "timeout", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(values)
def test_any_document_is_taken_or_refused_in_one_line(value: object) -> None:
    joined = joined_or_refused(yaml.safe_dump(value).encode())
    if isinstance(joined, str):
        assert re.fullmatch(r"\.drycc/web\.yaml line \d+: .+", joined)
    else:
        assert joined == {"pipeline": {"web.yaml": value}}


@given(st.binary(max_size=100))
def test_any_bytes_are_a_document_or_refused(content: bytes) -> None:
    joined = joined_or_refused(content)
    assert isinstance(joined, dict) or re.fullmatch(r"\.drycc/web\.yaml.*: .+", joined)


def joined_or_refused(content: bytes) -> dict[str, object] | str:
    try:
        return join_dryccfile([parse_document("web.yaml", content)], {})
    except DryccfileError as error:
        return error.detail
