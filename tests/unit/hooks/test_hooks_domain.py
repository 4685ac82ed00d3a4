"""Addressing, signing and retrying of deploy hooks."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.domain.delivery import LONGEST_DELAY, ReleaseFacts, Target, backoff
from hooks.domain.signature import signature_headers

FACTS = ReleaseFacts(app="shop", version=4, summary="mina deployed 35b3726", sha="35b3726", user="mina")


def test_query_is_form_encoded_with_sorted_keys() -> None:
    assert FACTS.query() == ("app=shop&release=v4&release_summary=mina+deployed+35b3726&sha=35b3726&user=mina")


def test_query_of_a_release_without_build_has_an_empty_sha() -> None:
    facts = ReleaseFacts(app="shop", version=1, summary="mina created initial release", sha="", user="mina")
    assert facts.query().endswith("&sha=&user=mina")


@pytest.mark.parametrize(
    ("url", "complete"),
    [
        ("http://drycc.rocks", "http://drycc.rocks?app=shop"),
        ("https://example.com/hook", "https://example.com/hook?app=shop"),
        ("https://example.com/hook?room=7", "https://example.com/hook?room=7&app=shop"),
    ],
)
def test_complete_url_keeps_what_was_configured(url: str, complete: str) -> None:
    assert Target(url).complete(FACTS).startswith(complete)


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://hooks.example.com/services/T00/B00/verysecret", "https://hooks.example.com/..."),
        ("https://mina:hunter2@example.com:8443/", "https://example.com:8443"),
        ("http://example.com?token=verysecret", "http://example.com/..."),
        ("http://[::1]:9000", "http://[::1]:9000"),
    ],
)
def test_label_shows_nothing_that_may_be_secret(url: str, label: str) -> None:
    assert Target(url).label == label


def test_digest_tells_receivers_of_one_host_apart() -> None:
    assert Target("https://example.com/a").digest != Target("https://example.com/b").digest


def test_signatures_cover_the_complete_url() -> None:
    url = Target("http://drycc.rocks").complete(FACTS)
    headers = signature_headers(url, secret="my_secret_key", now=datetime(2026, 1, 5, 10, 15, tzinfo=UTC))
    legacy = hmac.new(b"my_secret_key", url.encode(), hashlib.sha1).hexdigest()
    modern = hmac.new(b"my_secret_key", f"1767608100.{url}".encode(), hashlib.sha256).hexdigest()
    assert headers == {"Authorization": legacy, "Workflow-Signature": f"t=1767608100,v1={modern}"}


@given(st.integers(min_value=1, max_value=10_000))
def test_backoff_grows_to_an_hour_and_keeps_half_of_it_fixed(attempt: int) -> None:
    full = min(timedelta(seconds=10) * 2 ** min(attempt - 1, 16), LONGEST_DELAY)
    assert full / 2 <= backoff(attempt) <= full
