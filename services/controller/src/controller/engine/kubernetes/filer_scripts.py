"""What a filer runs to list, read, write and delete files, and how its answers are read. Pure.

The scripts are for any POSIX shell. They are given the root of the volume and the names on the way to the file as
arguments, never as a part of their text. They go down directory by directory, and look after each step whether they are
still in the volume: a link may lead out of it. Their first line says how it went: `ok`, with the number of bytes of a
file that is read and with 1 for a list of one file; or another word and the place of the name that it is about (0 is
the root).
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from controller.domain.spec_storage import FileEntry
from shared.errors import InvalidInputError, NotFoundError, SuiteError, UnavailableError

CHUNK_BYTES: Final = 1024 * 1024
_UPLOAD: Final = ".drycc-upload-"
"""What the names of files begin with that are not complete yet; nobody is shown them."""

# $1 is the root, the others are the names of the path. `here` is where we are; the dot keeps line feeds at its end.
_START: Final = r"""
export LC_ALL=C
unset CDPATH
say() { printf '%s\n' "$*"; }
fail() { say "$@"; exit 0; }
locate() { here=$(pwd -P && echo .) && here=${here%??}; }
cd -P "$1" && locate || fail failed 0
root=$here
shift
place=0 last=$#
enter() {
  place=$((place + 1))
  if [ ! -d "./$1" ]; then
    if [ -e "./$1" ]; then fail not-a-directory $place; fi
    if [ -L "./$1" ]; then fail dangling $place; fi
    return 1
  fi
  cd -P "./$1" || fail failed $place
  locate || fail failed $place
  case $here/ in "$root"/*) ;; *) fail outside $place ;; esac
}
"""

# One line for each: type and mode in hexadecimal, size, time of change, name. A name has no slash, so that a line feed
# and a slash stand between two of them and nowhere else. What a link in the volume leads to is shown in its place.
_LIST: Final = (
    _START
    + r"""
while [ $# -gt 1 ]; do enter "$1" || fail missing $place; shift; done
show='
for file; do
  follow=
  if [ -L "$file" ] && [ -e "$file" ]; then
    leads=$(readlink -f "$file" && echo .)
    case ${leads%??}/ in "$root"/*) follow=-L ;; esac
  fi
  stat $follow -c "/%f %s %Y %n" "$file"
done'
export root
if [ $# -eq 1 ] && [ ! -d "./$1" ]; then
  if [ ! -e "./$1" ] && [ ! -L "./$1" ]; then fail missing $last; fi
  say ok 1
  sh -c "$show" sh "./$1"
else
  if [ $# -eq 1 ]; then enter "$1" || fail missing $place; fi
  if [ ! -r . ]; then fail denied $place; fi
  say ok
  find . ! -name . -prune ! -type l -exec stat -c '/%f %s %Y %n' {} + 2> /dev/null
  find . ! -name . -prune -type l -exec sh -c "$show" sh {} + 2> /dev/null
fi
say /
"""
)

# Opened first and looked at then, so that it cannot become another file in between.
_READ: Final = (
    _START
    + r"""
while [ $# -gt 1 ]; do enter "$1" || fail missing $place; shift; done
if [ -d "./$1" ]; then fail is-a-directory $last; fi
if [ -L "./$1" ] && [ ! -e "./$1" ]; then fail dangling $last; fi
if [ ! -e "./$1" ]; then fail missing $last; fi
if [ ! -f "./$1" ]; then fail not-a-file $last; fi
give() {
  leads=$(readlink /proc/self/fd/3 3<&3 && echo .)
  case $leads in "$root"/*) ;; *) fail outside $last ;; esac
  size=$(stat -L -c %s /proc/self/fd/3 3<&3) || fail failed $last
  say ok "$size"
  head -c "$size" <&3
}
if [ ! -r "./$1" ]; then fail denied $last; fi
give 3< "./$1"
"""
)

# $1 is a word of our own for the name of the file that is not complete yet. Content comes in pieces, each after a line
# with its size; every piece is confirmed. Whatever breaks before the line `end` leaves nothing. A machine that is lost
# may leave half a file: it goes with the first upload to its directory a day later.
_WRITE: Final = (
    r"""
upload=$1
shift
"""
    + _START
    + r"""
umask 002
while [ $# -gt 1 ] && enter "$1"; do shift; done
into=.
while [ $# -gt 1 ]; do into=$into/$1; shift; done
if [ -d "$into/$1" ]; then fail is-a-directory $last; fi
find . ! -name . -prune -name '.drycc-upload-*' -mmin +1440 -type f -exec rm -f {} + 2> /dev/null
trap 'rm -f "./$upload"' EXIT
trap 'exit 1' HUP INT TERM PIPE
( set -C; : > "./$upload" ) || fail failed 0
say ok
while IFS= read -r size && [ "$size" != end ]; do
  dd bs="$size" count=1 iflag=fullblock status=none >> "./$upload" || fail failed 0
  say ok
done
[ "$size" = end ] || exit 1
if [ "$into" != . ]; then mkdir -p "$into" || fail failed 0; fi
if [ -d "$into/$1" ]; then fail is-a-directory $last; fi
if [ -f "$into/$1" ]; then chmod "$(stat -L -c %a "$into/$1")" "./$upload"; fi
mv -f "./$upload" "$into/$1" || fail failed 0
say ok
"""
)

_DELETE: Final = (
    _START
    + r"""
while [ $# -gt 1 ]; do enter "$1" || fail missing $place; shift; done
if [ ! -e "./$1" ] && [ ! -L "./$1" ]; then fail missing $last; fi
say ok
rm -rf "./$1" || fail failed $last
say ok
"""
)


@dataclass(frozen=True)
class Head:
    """The first line of an answer: `word` is `ok`, or what is wrong with the name at `place` of the path."""

    word: str
    number: int = 0

    @property
    def is_ok(self) -> bool:
        """It can go on."""
        return self.word == "ok"


def listing(root: str, path: str) -> list[str]:
    """The command that lists a directory, or tells of one file."""
    return ["sh", "-c", _LIST, "list", root, *parts_of(path)]


def reading(root: str, path: str) -> list[str]:
    """The command that gives a file."""
    return ["sh", "-c", _READ, "read", root, *parts_of(path)]


def writing(root: str, path: str, *, token: str) -> list[str]:
    """The command that takes a file; `token` is a word that no other upload has."""
    return ["sh", "-c", _WRITE, "write", f"{_UPLOAD}{token}", root, *parts_of(path)]


def deleting(root: str, path: str) -> list[str]:
    """The command that removes a file or a directory."""
    return ["sh", "-c", _DELETE, "delete", root, *parts_of(path)]


def parts_of(path: str) -> list[str]:
    """The names of a clean path, from the root on."""
    return path.split("/") if path else []


def parse_head(line: bytes) -> Head | None:
    """The first line of an answer; None for one that no script of ours has written."""
    word, _, number = line.decode(errors="replace").partition(" ")
    if word != "ok" and word not in _PROBLEMS:
        return None
    return Head(word, int(number) if number.isdecimal() else 0)


def parse_entries(path: str, answer: bytes, *, is_file: bool) -> list[FileEntry]:
    """What a list says; directories first, each kind by name. `is_file`: `path` is the one file that it is about.

    Raises:
        UnavailableError: it is not complete.
    """
    lines = answer.removeprefix(b"/").split(b"\n/")
    if not answer.startswith(b"/") or lines.pop() != b"\n":
        raise UnavailableError("the list of files broke off: try again")
    above = path.rpartition("/")[0] if is_file else path
    found = [entry for line in lines if (entry := _entry(above, line)) is not None]
    return sorted(found, key=lambda entry: (not entry.is_dir, entry.name))


def problem_of(head: Head, path: str, *, doing: str, words: str) -> SuiteError:
    """The error for an answer that is not `ok`. `doing` is what was tried, `words` what programs said of it."""
    at = "/".join(parts_of(path)[: head.number]) or "/"
    if head.word == "not-a-directory" and doing == "write":
        return InvalidInputError(f"{at} is a file, not a directory")
    if head.word in ("missing", "not-a-directory"):
        return NotFoundError(f"there is no {path} in this volume")
    if head.word == "dangling":
        return NotFoundError(f"{at} is a link that leads nowhere")
    if head.word in ("failed", "denied"):
        reason = "Permission denied" if head.word == "denied" else _reason(words)
        return InvalidInputError(f"could not {doing} {path or '/'}: {reason}")
    return InvalidInputError(_PROBLEMS[head.word].format(at))


_PROBLEMS: Final = {
    "missing": "",
    "dangling": "",
    "not-a-directory": "",
    "denied": "",
    "failed": "",
    "is-a-directory": "{} is a directory: name a file",
    "not-a-file": "{} is neither a file nor a directory",
    "outside": "{} is a link that leads out of this volume",
}


def _reason(words: str) -> str:
    """The reason in what a program says: `rm: can't remove './a': Permission denied`."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2][:200] if lines else "it did not work"


def _entry(above: str, line: bytes) -> FileEntry | None:
    mode, size, changed, place = line.split(b" ", 3)
    name = place.removeprefix(b"./").decode(errors="replace")
    if name.startswith(_UPLOAD):
        return None
    is_dir = stat.S_ISDIR(int(mode, 16))
    return FileEntry(
        name, f"{above}/{name}" if above else name, 0 if is_dir else int(size), is_dir, _time(int(changed))
    )


def _time(seconds: int) -> str:
    moment = datetime.fromtimestamp(min(max(seconds, 0), _LAST_SECOND), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


_LAST_SECOND: Final = 253402300799
"""The end of the year 9999."""
