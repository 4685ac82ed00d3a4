"""Secrets do not reach the logs, by whatever way they come."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.logging import bind_context, clear_context, configure_logging, current_request_id, get_logger
from shared.redaction import REDACTED, redact, redact_text

SECRET = "hunter2-Zx81"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJtaW5hIn0.c2lnbmF0dXJl"
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging(service="test", level="info", fmt="json", stream=stream)
    yield stream
    clear_context()
    configure_logging(service="test", level="warning", fmt="json")


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "old_password",
        "client_secret",
        "token",
        "refresh_token",
        "Authorization",
        "X-Drycc-Builder-Auth-Token",
        "cookie",
        "private_key",
        "encryption_keys",
        "builder_key",
        "key_material",
        "passphrase",
    ],
)
def test_facts_are_redacted_by_name_however_deep(key: str) -> None:
    facts = {"outer": [{"inner": {key: SECRET}}], key: {"nested": SECRET}}
    assert SECRET not in json.dumps(redact(facts))


@pytest.mark.parametrize("key", ["values", "env", "config_values", "environ"])
def test_configuration_shows_names_only(key: str) -> None:
    assert redact({key: {"GREETING": SECRET}}) == {key: {"GREETING": REDACTED}}
    assert redact({key: [("GREETING", SECRET)], "x": {key: SECRET}}) == {key: REDACTED, "x": {key: REDACTED}}


@pytest.mark.parametrize(
    "text",
    [
        f"Bearer {SECRET}",
        f"authorization: token {SECRET}",
        f"Authorization: Bearer {SECRET} refused",
        f"sent token {SECRET} to x",
        f"Basic {SECRET}=",
        f"postgresql+asyncpg://user:{SECRET}@db/name",
        f"amqp://guest:{SECRET}@mq/",
        f"https://h/x?a=1&token={SECRET}&b=2",
        f"https://h/cb?code={SECRET}",
        f'{{"password": "{SECRET}"}}',
        f"password={SECRET}, user=mina",
        f"CLIENT_SECRET='{SECRET}'",
        f"jwt {JWT[:-9]}{SECRET}",
    ],
)
def test_text_is_redacted_by_shape(text: str) -> None:
    redacted = redact_text(text)
    assert SECRET not in redacted
    assert REDACTED in redacted
    assert redact_text(redacted).count(REDACTED) == redacted.count(REDACTED)


@pytest.mark.parametrize(
    "text",
    [
        "the token expired",
        "basic authentication is needed",
        "no token for builder: passport says 401",
        "http://shop.localhost:8080/path",
        "git@host:shop.git",
        "release v12 of shop deployed at 10:15:00",
        "key Mina's laptop was added",
    ],
)
def test_prose_is_left_alone(text: str) -> None:
    assert redact_text(text) == text


def test_keys_and_tokens_without_a_name_are_found() -> None:
    assert "b3BlbnNz" not in redact_text(f"read {PEM} from disk")
    assert JWT not in redact_text(f"refused {JWT}")


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_redaction_takes_anything(value: object) -> None:
    redact(value)


def _fail(text: str) -> None:
    raise RuntimeError(text)


def test_every_way_into_the_log_is_redacted(logged: io.StringIO) -> None:
    log = get_logger("t")
    log.info("one", password=SECRET, nested={"token": SECRET}, wrapped=SecretStr(SECRET))
    log.info(f"two Bearer {SECRET}")
    bind_context(authorization=SECRET)
    log.info("three")
    try:
        _fail(f"password={SECRET}")
    except RuntimeError:
        log.exception("four", error=RuntimeError(f"token={SECRET}"))
    logging.getLogger("foreign").warning("five Bearer %s", SECRET)
    try:
        _fail(f"secret={SECRET}")
    except RuntimeError:
        logging.getLogger("foreign").exception("six")
    text = logged.getvalue()
    assert SECRET not in text
    names = [json.loads(line)["event"].split()[0] for line in text.splitlines()]
    assert names == ["one", "two", "three", "four", "five", "six"]


def test_records_are_one_json_line_with_the_usual_facts(logged: io.StringIO) -> None:
    bind_context(request_id="abc", app="shop")
    assert current_request_id() == "abc"
    get_logger("here").info("release_created", version=3)
    get_logger("here").debug("not this")
    bind_context(service="other")
    logging.getLogger("foreign").warning("hello %s", "you")
    first, second = (json.loads(line) for line in logged.getvalue().splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "release_created",
        "version": 3,
        "service": "test",
        "logger": "here",
        "level": "info",
        "request_id": "abc",
        "app": "shop",
    }
    assert (second["event"], second["service"], second["logger"]) == ("hello you", "other", "foreign")


def test_configuring_again_replaces_the_output(logged: io.StringIO) -> None:
    second = io.StringIO()
    configure_logging(service="test", level="info", fmt="console", stream=second)
    get_logger("t").info("hello", app="shop")
    assert logged.getvalue() == ""
    assert second.getvalue().count("\n") == 1
    assert "hello" in second.getvalue()


def test_unknown_formats_and_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="json or console"):
        configure_logging(service="t", level="info", fmt="xml")
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging(service="t", level="loud", fmt="json")
