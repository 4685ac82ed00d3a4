"""What people may ask of TLS, and how it is merged."""

from __future__ import annotations

import pytest

from controller.domain.errors import InvalidFieldsError
from controller.domain.tls import DEFAULT_ISSUER, Issuer, TlsChoice, audit_facts, check_tls, choose

EMAIL = "Enter a valid email address."
SERVER = "Enter the https URL of an ACME directory, e.g. https://acme-v02.api.letsencrypt.org/directory."
HALF_KEY = "Give both key_id and key_secret, or neither."
GOOD = {"email": "ops@example.org", "server": "https://acme.example.org/dir"}


def test_everything_is_optional() -> None:
    assert check_tls({}) == check_tls({"https_enforced": None, "issuer": None, "other": 1}) == TlsChoice()
    assert check_tls({"https_enforced": "true", "certs_auto_enabled": False}) == TlsChoice(True, False)
    assert check_tls({"issuer": GOOD}).issuer == Issuer("ops@example.org", "https://acme.example.org/dir")
    whole = {**GOOD, "key_id": "kid", "key_secret": "hush"}
    assert check_tls({"issuer": whole}).issuer == Issuer(*whole.values())
    assert check_tls({"issuer": {**GOOD, "key_id": None, "key_secret": ""}}).issuer == Issuer(*GOOD.values())


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"https_enforced": "zz"}, {"https_enforced": ["Must be a valid boolean."]}),
        (
            {"https_enforced": [], "certs_auto_enabled": "maybe", "issuer": {}},
            {"https_enforced": ["Must be a valid boolean."], "certs_auto_enabled": ["Must be a valid boolean."]},
        ),
        ({"issuer": "x"}, {"issuer": ["Give an object with email, server, key_id and key_secret."]}),
        ({"issuer": {}}, {"email": ["This field is required."], "server": ["This field is required."]}),
        (
            {"issuer": {"email": "", "server": None}},
            {"email": ["This field may not be blank."], "server": ["This field may not be null."]},
        ),
        ({"issuer": GOOD | {"email": "nobody"}}, {"email": [EMAIL]}),
        ({"issuer": GOOD | {"email": "a b@example.org"}}, {"email": [EMAIL]}),
        ({"issuer": GOOD | {"email": {"x": 1}}}, {"email": ["Not a valid string."]}),
        ({"issuer": GOOD | {"server": "http://acme.example.org"}}, {"server": [SERVER]}),
        ({"issuer": GOOD | {"server": "acme"}}, {"server": [SERVER]}),
        ({"issuer": GOOD | {"server": "https://"}}, {"server": [SERVER]}),
        ({"issuer": GOOD | {"server": "https://me:pw@acme.example.org"}}, {"server": [SERVER]}),
        ({"issuer": GOOD | {"server": "https://acme.example.org:port"}}, {"server": [SERVER]}),
        ({"issuer": GOOD | {"server": "https://acme.example.org/a b"}}, {"server": [SERVER]}),
        ({"issuer": GOOD | {"server": "https://[x"}}, {"server": [SERVER]}),
        ({"issuer": GOOD | {"key_id": "kid"}}, {"key_secret": [HALF_KEY]}),
        ({"issuer": GOOD | {"key_secret": "hush"}}, {"key_id": [HALF_KEY]}),
    ],
)
def test_bad_requests(body: dict[str, object], errors: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidFieldsError) as caught:
        check_tls(body)
    assert caught.value.errors == errors
    assert "hush" not in str(caught.value.facts)


def test_what_is_left_out_stays() -> None:
    mine = Issuer("ops@example.org", "https://acme.example.org")
    now = TlsChoice(True, None, mine)
    assert choose(now, TlsChoice()) == now
    assert choose(now, TlsChoice(https_enforced=False)) == TlsChoice(False, None, mine)
    assert choose(now, TlsChoice(False, True)) == TlsChoice(False, True, mine)
    assert choose(now, TlsChoice(issuer=DEFAULT_ISSUER)) == TlsChoice(True, None, DEFAULT_ISSUER)


def test_the_secret_is_told_to_nobody() -> None:
    choice = TlsChoice(issuer=Issuer("ops@example.org", "https://acme.example.org", "kid", "hush"))
    assert "hush" not in f"{choice} {audit_facts(choice)}"
