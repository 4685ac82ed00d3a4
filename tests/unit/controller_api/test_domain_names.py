"""How host names are written, which of them belong to the platform, and which names a certificate is good for."""

from __future__ import annotations

import pytest

from controller.domain.certificates import is_good_for
from controller.domain.domains import app_label, is_platform_name, normalise, platform_hosts, spellings
from controller.domain.errors import InvalidFieldsError
from controller.domain.policy import Policy
from controller.services.domains import to_ace

POLICY = Policy(
    reserved_names=frozenset(("drycc", "drycc-builder")),
    app_domain="Apps.test",
    platform_hosts=platform_hosts("https://api.example.org", "https://sso.example.org:8443/oauth"),
)
NO_ACE = "Hostname does not look valid, could not convert to ACE"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("shop.example.org", "shop.example.org"),
        ("shop.example.org.", "shop.example.org"),
        ("Shop.Example.ORG", "shop.example.org"),
        ("münchen.example.org", "xn--mnchen-3ya.example.org"),
        ("xn--mnchen-3ya.example.org", "xn--mnchen-3ya.example.org"),
        ("faß.de", "xn--fa-hia.de"),
        ("*.example.org", "*.example.org"),
        ("*.münchen.de", "*.xn--mnchen-3ya.de"),
        ("shop", "shop"),
        ("1.example.org", "1.example.org"),
        ("x" * 63 + ".org", "x" * 63 + ".org"),
    ],
)
def test_normal_form(sent: str, stored: str) -> None:
    assert normalise(sent, to_ace) == stored
    assert normalise(stored, to_ace) == stored


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ("*", "Hostname can't only be a wildcard"),
        ("*.", "Hostname can't only be a wildcard"),
        ("x.1", "Hostname does not look valid."),
        ("127.0.0.1", "Hostname does not look valid."),
        ("42", "Hostname does not look valid."),
        ("foo.*.com", f"{NO_ACE} foo.*.com: Codepoint U+002A at position 1 of '*' not allowed"),
        ("*.*.com", f"{NO_ACE} *.*.com: Codepoint U+002A at position 1 of '*' not allowed"),
        ("a_b.com", f"{NO_ACE} a_b.com: Codepoint U+005F at position 2 of 'a_b' not allowed"),
        ("a b.com", f"{NO_ACE} a b.com: Codepoint U+0020 at position 2 of 'a b' not allowed"),
        ("a..b", f"{NO_ACE} a..b: Empty Label"),
        (".", f"{NO_ACE} : Empty Label"),
        ("xn--", f"{NO_ACE} xn--: Malformed A-label, no Punycode eligible content found"),
        ("x" * 64 + ".com", f"{NO_ACE} {'x' * 64}.com: Label too long"),
        ("a." * 128, "Hostname must be 253 characters or less."),
        ("é" * 5000, "Hostname must be 253 characters or less."),
    ],
)
def test_what_is_no_name(sent: str, message: str) -> None:
    with pytest.raises(InvalidFieldsError) as caught:
        normalise(sent, to_ace)
    assert caught.value.errors == {"domain": [message]}


def test_hosts_of_the_platform() -> None:
    assert POLICY.platform_hosts == {"api.example.org", "sso.example.org", "api-builder.example.org"}
    assert platform_hosts("http://localhost:8000", "http://localhost:8001/oauth") == {"localhost", "localhost-builder"}


@pytest.mark.parametrize(
    "domain",
    [
        "api.example.org", "sso.example.org", "api-builder.example.org", "*.example.org", "*.org",
        "apps.test", "*.apps.test", "*.test", "drycc", "drycc.apps.test", "x.drycc-builder.apps.test",
        "*.drycc.apps.test",
    ],
)  # fmt: skip
def test_names_that_are_the_platforms(domain: str) -> None:
    assert is_platform_name(domain, POLICY)


@pytest.mark.parametrize(
    "domain",
    [
        "shop.example.org",
        "example.org",
        "shop",
        "shop.apps.test",
        "*.shop.apps.test",
        "xapps.test",
        "x.api.example.org",
    ],
)
def test_names_that_are_not(domain: str) -> None:
    assert not is_platform_name(domain, POLICY)


def test_without_a_domain_of_apps_single_labels_are_just_names() -> None:
    assert not is_platform_name("drycc", Policy(reserved_names=("drycc",)))
    assert app_label("shop", None) is None
    assert spellings("shop", None) == {"shop"}


def test_whose_host_it_is() -> None:
    labels = {name: app_label(name, "apps.test") for name in ("shop", "shop.apps.test", "a.b.shop.apps.test", "a.test")}
    assert labels == {"shop": "shop", "shop.apps.test": "shop", "a.b.shop.apps.test": "shop", "a.test": None}


def test_spellings_of_one_host() -> None:
    both = {"shop", "shop.apps.test"}
    assert spellings("shop", "Apps.test") == spellings("shop.apps.test", "Apps.test") == both
    assert spellings("a.shop.apps.test", "apps.test") == {"a.shop.apps.test"}
    assert spellings("shop.example.org", "apps.test") == {"shop.example.org"}


@pytest.mark.parametrize(
    ("domain", "names", "good"),
    [
        ("shop.example.org", ["SHOP.example.org"], True),
        ("shop.example.org", ["other.org", "*.example.org"], True),
        ("a.shop.example.org", ["*.example.org"], False),
        ("*.example.org", ["*.example.org"], True),
        ("*.example.org", ["shop.example.org"], False),
        ("shop.example.org", [], False),
        ("shop", ["*."], False),
    ],
)
def test_names_of_a_certificate(domain: str, names: list[str], good: bool) -> None:
    assert is_good_for(domain, names) is good
