"""One-off commands of a pushed app: followed while they run, their outcome known, stopped, and over when the app is."""

from __future__ import annotations

import time
from typing import Any

import pytest

from e2e.live import GOOD, Live, User

SLOW = "for i in 1 2 3; do echo line $i; sleep 0.3; done; echo $SECRET_OF_NOBODY; exit 3"


@pytest.mark.timeout(300)
def test_one_offs(live: Live, admin: User) -> None:
    admin.call("POST", "/v2/apps/", expect=201, json={"id": "oneoffs"})
    pushed = live.push(admin, live.repository("oneoffs", GOOD), "oneoffs")
    assert pushed.returncode == 0, pushed.stderr
    jobs = "/v2/apps/oneoffs/jobs"

    job = admin.call("POST", jobs, expect=201, json={"command": SLOW})
    began, arrivals = time.monotonic(), []
    with admin.http.stream("GET", f"{jobs}/{job['name']}/log?follow=true") as response:
        assert response.status_code == 200
        text = b""
        for piece in response.iter_raw():
            arrivals.append(time.monotonic() - began)
            text += piece
    assert text == b"line 1\nline 2\nline 3\n\n"
    assert len(arrivals) > 1
    rest = admin.http.get(f"{jobs}/{job['name']}/log?offset=7")
    assert rest.content == text[7:]

    done = _until_over(admin, f"{jobs}/{job['name']}")
    assert (done["state"], done["exit_code"], done["reason"], done["log"][:1]) == (
        "crashed",
        3,
        "process-crashed",
        ["line 1"],
    )

    words = admin.call("POST", jobs, expect=201, json={"command": ["printf", "%s|", "a  b", "$HOME"]})
    assert _until_over(admin, f"{jobs}/{words['name']}")["log"] == ["a  b|$HOME|"]

    endless = admin.call("POST", jobs, expect=201, json={"command": "sleep 1000"})
    admin.call("DELETE", f"{jobs}/{endless['name']}", expect=204)
    assert _until_over(admin, f"{jobs}/{endless['name']}")["reason"] == "stopped"

    admin.call("POST", jobs, expect=201, json={"command": "sleep 1000"})
    admin.call("DELETE", "/v2/apps/oneoffs/", expect=204)
    assert admin.http.get(jobs).status_code == 404


def _until_over(admin: User, path: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while True:
        job: dict[str, Any] = admin.call("GET", path, expect=200)
        if job["state"] in ("down", "crashed"):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
