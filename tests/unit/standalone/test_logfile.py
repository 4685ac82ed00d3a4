"""The platform's log: rotation by size, and its end as `workflow logs` shows it."""

from pathlib import Path

from standalone.logfile import RotatingStream
from standalone.tail import tail


def test_rotation_keeps_whole_lines_and_so_many_files(tmp_path: Path) -> None:
    path = tmp_path / "platform.log"
    with RotatingStream(path, max_bytes=50, backups=2) as stream:
        for number in range(12):
            stream.write(f"line {number:02} ........\n")
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["platform.log", "platform.log.1", "platform.log.2"]
    assert all(file.stat().st_size <= 50 for file in files)
    assert path.read_text().endswith("line 11 ........\n")
    assert (tmp_path / "platform.log.1").read_text().splitlines()[-1] == "line 09 ........"


def test_a_line_longer_than_the_limit_is_written_whole(tmp_path: Path) -> None:
    with RotatingStream(tmp_path / "log", max_bytes=10) as stream:
        stream.write("a" * 100 + "\n")
    assert (tmp_path / "log").read_text() == "a" * 100 + "\n"


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"{number}\n" for number in range(1000)))
    assert list(tail(path, lines=3, follow=False)) == ["997\n", "998\n", "999\n"]


def test_follow_goes_on_over_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old\n")
    lines = tail(path, lines=10, follow=True)
    assert next(lines) == "old\n"
    path.replace(tmp_path / "log.1")
    path.write_text("new\n")
    assert next(lines) == "new\n"
