"""Pure rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passport.domain.accounts import NewAccount, check_password
from passport.domain.claims import user_claims
from passport.domain.clients import Client, check_redirect_registration, redirect_origin
from passport.domain.errors import InvalidAccountError, TooManyAttemptsError
from passport.domain.keys import PUBLISH_AHEAD, SigningKey, retired, signing_key
from passport.domain.redirects import safe_next
from passport.domain.secrets import Sealer, digest, new_secret
from passport.domain.throttle import Bucket, Limit, address_group

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_client(**values: object) -> Client:
    return Client(**({"client_id": "c", "secret_digest": None, "name": "C"} | values))  # type: ignore[arg-type]


@pytest.mark.parametrize("username", ["a", "Ab1", "a@b.c+d-e_f", "x" * 150])
def test_usernames(username: str) -> None:
    assert NewAccount(username).username == username


@pytest.mark.parametrize("username", ["", "a b", "a/b", "x" * 151, "ü", "a\n"])
def test_bad_usernames(username: str) -> None:
    with pytest.raises(InvalidAccountError) as caught:
        NewAccount(username)
    assert caught.value.field == "username"


@pytest.mark.parametrize("email", ["a", "a@", "@b", "a@b@c", "a b@c", "a@b\n", "x" * 65 + "@b.c"])
def test_bad_addresses(email: str) -> None:
    with pytest.raises(InvalidAccountError) as caught:
        NewAccount("a", email)
    assert caught.value.field == "email"


@pytest.mark.parametrize("password", ["elevenchars", "Administrator-1", "abababababababab", "x" * 1025])
def test_bad_passwords(password: str) -> None:
    with pytest.raises(InvalidAccountError):
        check_password(password, username="administrator-1")


def test_names() -> None:
    with pytest.raises(InvalidAccountError):
        NewAccount("a", first_name="x\x00")


@pytest.mark.parametrize(
    ("registered", "given_uri", "matches"),
    [
        ("https://a.example/cb", "https://a.example/cb", True),
        ("https://a.example/cb", "https://a.example/cb?x=1", False),
        ("https://a.example/cb", "https://a.example:444/cb", False),
        ("https://a.example/cb", "http://a.example/cb", False),
        ("https://a.example/cb", "https://a.example/cb/../evil", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:5123/cb", True),
        ("http://[::1]/cb", "http://[::1]:5123/cb", True),
        ("http://127.0.0.1/cb", "http://127.0.0.1:5123/other", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:5123@evil.example/cb", False),
        ("http://127.0.0.1/cb", "http://evil@127.0.0.1/cb", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:99999/cb", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1/cb#x", False),
        ("http://127.0.0.1/cb", "http://[127.0.0.1/cb", False),
        ("http://localhost/cb", "http://localhost:5123/cb", False),
    ],
)
def test_redirect_matching(registered: str, given_uri: str, matches: bool) -> None:
    assert make_client(redirect_uris=(registered,)).check_redirect_uri(given_uri) is matches


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "https://",
        "https://a/#f",
        "https://a/ b",
        "//a/b",
        "https://a:x/",
        "é:",
    ],
)
def test_redirect_uris_that_are_not_registered(uri: str) -> None:
    assert check_redirect_registration(uri)


def test_redirect_uris_that_are_registered() -> None:
    for uri in ("https://a.example/cb", "http://127.0.0.1/cb", "org.example.app:/cb"):
        assert check_redirect_registration(uri) is None
    assert redirect_origin("https://a.example:444/cb?x") == "https://a.example:444"
    assert redirect_origin("org.example.app:/cb") == "org.example.app:"


def test_scopes() -> None:
    client = make_client(scopes=("openid", "email", "controller:hook"))
    assert client.get_allowed_scope(None) == "openid"
    assert client.get_allowed_scope("email openid email") == "email openid"
    assert client.get_allowed_scope("email admin") is None
    assert client.service_scope(None) == "controller:hook"
    assert client.service_scope("openid") is None
    assert make_client().get_allowed_scope("") == ""


def test_audiences() -> None:
    client = make_client(audiences=("a", "b"))
    assert client.audiences_for(()) == ("a", "b")
    assert client.audiences_for(("b", "b")) == ("b",)
    assert client.audiences_for(("c",)) is None
    assert make_client().audiences_for(()) == ("c",)


def test_client_authentication_method() -> None:
    public, secret = make_client(), make_client(secret_digest=digest("s"))
    assert public.check_endpoint_auth_method("none", "token")
    assert not public.check_endpoint_auth_method("client_secret_basic", "token")
    assert not public.check_client_secret("s")
    assert not secret.check_endpoint_auth_method("none", "revocation")
    assert secret.check_client_secret("s")
    assert not secret.check_client_secret("t")


@given(st.text(max_size=40))
def test_next_is_a_path_of_ours(target: str) -> None:
    result = safe_next(target)
    assert result.startswith("/")
    assert not result.startswith("//")
    assert "\\" not in result
    assert result.isprintable()


def test_next_keeps_paths() -> None:
    target = "/oauth/authorize/?client_id=a&redirect_uri=https%3A%2F%2Fx"
    assert safe_next(target) == target
    assert safe_next(None, default="/user/login/") == "/user/login/"
    assert safe_next("/" + "x" * 9000) == "/"


def key(kid: str, active_from: datetime) -> SigningKey:
    return SigningKey(kid, "ES256", b"", NOW, active_from)


def test_key_ring() -> None:
    old, new = key("old", NOW), key("new", NOW + PUBLISH_AHEAD)
    life = timedelta(minutes=15)
    assert signing_key([], NOW) is None
    assert signing_key([new, old], NOW) == old
    assert signing_key([new, old], new.active_from) == new
    assert retired([new, old], new.active_from + life, token_lifetime=life) == []
    assert retired([new, old], new.active_from + life + PUBLISH_AHEAD, token_lifetime=life) == [old]
    assert retired([new], NOW + timedelta(days=999), token_lifetime=life) == []


def test_bucket() -> None:
    limit = Limit(2, timedelta(seconds=10))
    bucket = Bucket(2.0, NOW)
    for _ in range(2):
        taken = bucket.take()
        assert taken is not None
        bucket = taken
    assert bucket.take() is None
    assert bucket.wait(limit) == timedelta(seconds=10)
    assert bucket.at(NOW + timedelta(seconds=5), limit).take() is None
    assert bucket.at(NOW + timedelta(seconds=10), limit).take() is not None
    assert bucket.at(NOW + timedelta(days=1), limit).level == 2.0
    assert bucket.at(NOW - timedelta(days=1), limit).level == 0.0
    assert bucket.put_back(limit).level == 1.0
    assert Bucket(2.0, NOW).put_back(limit).level == 2.0


def test_addresses() -> None:
    assert address_group("192.0.2.1") == "192.0.2.1"
    assert address_group("2001:db8::1") == address_group("2001:db8::ffff") == "2001:db8::/64"
    assert address_group("::ffff:192.0.2.1") == "192.0.2.1"
    assert address_group("what") == "what"


def test_secrets() -> None:
    assert new_secret("p_").startswith("p_")
    assert len({new_secret() for _ in range(10)}) == 10
    sealer = Sealer(b"key")
    assert sealer.seal("a", "x") == Sealer(b"key").seal("a", "x")
    assert sealer.seal("a", "x") != sealer.seal("b", "x")
    assert sealer.seal("a", "x") != Sealer(b"other").seal("a", "x")


def test_retry_after_is_at_least_a_second() -> None:
    assert TooManyAttemptsError(timedelta(milliseconds=1)).headers == {"Retry-After": "1"}


def test_claims_by_scope() -> None:
    from passport.domain.accounts import Account

    account = Account(7, "mina", "m@example.com", "Mina", "M", True, False, False)
    assert user_claims(account, {"openid"}, legacy=False) == {"sub": "7"}
    assert set(user_claims(account, {"openid", "profile"}, legacy=False)) >= {"id", "preferred_username", "is_staff"}
    assert "email" not in user_claims(account, {"openid", "profile"}, legacy=False)
    assert user_claims(account, {"openid"}, legacy=True)["email"] == "m@example.com"
