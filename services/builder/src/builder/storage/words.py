"""What storage said, for people: without the credentials and signatures that its long form repeats."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape
from typing import Final

MAX_CHARACTERS: Final = 300
_CODE: Final = re.compile(r"<Code>([^<]{1,200})</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]{1,2000})</Message>")
_STATUS: Final = re.compile(r"status code: (\d{3})")
# The system's own words stand only in the long form: `Os { code: 111, kind: ConnectionRefused, message: "..." }`.
_SYSTEM: Final = re.compile(r'message: "([^"]{1,200})"')
_CERTIFICATE: Final = re.compile(r"InvalidCertificate\(\s*(?:Other\(\s*OtherError\(\s*)?(\w+)")
_LOOK_UP: Final = re.compile(r'"dns error"|failed to lookup address information')
_TIMED_OUT: Final = re.compile(r"kind: Timeout|TimedOut|operation timed out")
# Signed URLs carry their signature in the query, URLs of old a password.
_SECRET_PARTS: Final = re.compile(r"\?[^\s,)]*|(?<=://)[^/@\s]*@")


def words_of(error: BaseException, *, secrets: Iterable[str]) -> str:
    """One line of at most 300 characters, in which none of `secrets` occurs."""
    text = str(error)
    line = _answer(text) or _failure(text) or text.partition("\n")[0]
    line = _SECRET_PARTS.sub("", " ".join(line.split()))
    for secret in secrets:
        if secret:
            line = line.replace(secret, "***")
    return line if len(line) <= MAX_CHARACTERS else line[: MAX_CHARACTERS - 1] + "…"


def _answer(text: str) -> str:
    """Code and message of a server that answered, as S3, Google and Azure write them."""
    code, message, status = _CODE.search(text), _MESSAGE.search(text), _STATUS.search(text)
    if code is None:
        return f"it answered {status[1]}" if status else ""
    said = f"{code[1]}: {message[1]}" if message else code[1]
    return unescape(f"it answered {status[1]} {said}" if status else said)


def _failure(text: str) -> str:
    """Why no answer came, or a directory would not do."""
    if found := _CERTIFICATE.search(text):
        return f"its certificate is not trusted ({found[1]})"
    if _LOOK_UP.search(text):
        return "the host of its endpoint is not known"
    if found := _SYSTEM.search(text):
        return found[1]
    return "it did not answer in time" if _TIMED_OUT.search(text) else ""
