"""Fetching the source: from a real server, with everything that can go wrong on the way."""

from __future__ import annotations

import gzip
import http.server
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagebuilder.result import BuildFailed
from imagebuilder.source import fetch

TOKEN = "t0ken"
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Served:
    """A server that gives one answer after the other, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests = 0
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served.requests += 1
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    self.send_error(401)
                    return
                answer = served.answers[0] if len(served.answers) == 1 else served.answers.pop(0)
                answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/source"


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    thread = threading.Thread(target=served.server.serve_forever)
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


def get(served: Served, destination: Path, *, token: str = TOKEN, patience: float = 30, max_bytes: int = 10_000) -> int:
    return fetch(
        served.url, token, destination, max_bytes=max_bytes, patience_seconds=patience, pause=lambda _seconds: None
    )


def content(content: bytes, *, length: int | None = None) -> Answer:
    """200 with that content, which may be shorter than what is announced."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(length or len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for entry, data in entries:
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def file(name: str, data: bytes = b"content", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    return entry, data


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry, b""


def test_files_modes_and_links_arrive(served: Served, tmp_path: Path) -> None:
    served.answers = [content(tar(file("run", mode=0o755), file("sub/a", b"a"), link("to", "sub/a")))]
    assert get(served, tmp_path / "source") == 8
    assert (tmp_path / "source" / "run").stat().st_mode & 0o111
    assert (tmp_path / "source" / "to").read_text() == "a"


def test_what_passes_is_waited_for_and_nothing_of_a_broken_transfer_stays(served: Served, tmp_path: Path) -> None:
    whole = tar(file("a", b"x" * 3000), file("b"))
    broken = tar(file("broken", bytes(range(256)) * 8))
    served.answers = [status(503), status(500), content(broken[:-20], length=len(broken)), content(whole)]
    get(served, tmp_path / "source")
    assert served.requests == 4
    assert sorted(path.name for path in (tmp_path / "source").iterdir()) == ["a", "b"]


def test_an_archive_that_ends_between_two_files_is_not_taken_for_whole(served: Served, tmp_path: Path) -> None:
    plain = gzip.decompress(tar(file("a"), file("b")))
    cut = gzip.compress(plain[:1024])[:-8]  # one header, one block of content, no end of the gzip stream
    served.answers = [content(cut)]
    with pytest.raises(BuildFailed, match="broke off"):
        get(served, tmp_path / "source", patience=0)


def test_a_directory_that_exists_is_emptied_first(served: Served, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("x")
    (tmp_path / "link").symlink_to("old")
    served.answers = [content(tar(file("new")))]
    get(served, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize(("token", "answer", "told"), [("wrong", 200, "401"), (TOKEN, 404, "404"), (TOKEN, 403, "403")])
def test_a_refusal_is_final(served: Served, tmp_path: Path, token: str, answer: int, told: str) -> None:
    served.answers = [status(answer)]
    with pytest.raises(BuildFailed, match=told) as caught:
        get(served, tmp_path / "source", token=token)
    assert caught.value.code == "internal"
    assert served.requests == 1
    assert token not in caught.value.message


def test_a_builder_that_stays_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="could not be fetched") as caught:
        fetch("http://127.0.0.1:9/x", TOKEN, tmp_path / "s", max_bytes=1, patience_seconds=0)
    assert "refused" in caught.value.message


def test_a_source_that_is_too_large_is_refused(served: Served, tmp_path: Path) -> None:
    served.answers = [content(tar(file("large", b"0" * 20_000)))]
    with pytest.raises(BuildFailed) as caught:
        get(served, tmp_path / "source")
    assert caught.value.code == "disk-limit"


@pytest.mark.parametrize("entry", [file("../outside"), link("out", "/etc/passwd"), link("up", "../../x")])
def test_nothing_is_written_outside(served: Served, tmp_path: Path, entry: tuple[tarfile.TarInfo, bytes]) -> None:
    served.answers = [content(tar(entry))]
    with pytest.raises(BuildFailed, match="outside") as caught:
        get(served, tmp_path / "source")
    assert caught.value.code == "build-failed"
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
