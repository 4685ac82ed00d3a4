"""What accounts of the registry may do, and the tokens that say so."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from builder.domain.access import (
    Access,
    granted,
    rights_of_build,
    rights_of_machine,
    rights_of_operator,
    wanted,
)
from builder.domain.images import cache_repository, image_repository, is_below, is_of_app, is_organization
from builder.runner.kubernetes.tokens import docker_auth, is_registry_password, registry_password, source_token
from builder.services.registry_tokens import RegistryTokens
from shared.settings import SettingsError
from support.certificates import MadePair, make_pair

SHARED = ("library/", "workflow/")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
names = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
apps = st.one_of(names, st.sampled_from(["cache", "layers", "shop", "team", "shop-cache"]))
organizations = st.one_of(
    names, st.sampled_from(["team", "shop", "cache", "project/images", "team/shop", "team.two/a_b"])
).filter(is_organization)
paths = st.lists(st.one_of(names, st.sampled_from(["shop", "cache", "library", "workflow"])), min_size=1, max_size=4)
scopes = st.one_of(
    st.text(max_size=60),
    st.builds(
        lambda kind, path, actions: f"{kind}:{'/'.join(path)}:{','.join(actions)}",
        st.sampled_from(["repository", "registry", "repository(plugin)", ""]),
        paths,
        st.lists(st.sampled_from(["pull", "push", "delete", "*", ""])),
    ),
)


@given(st.one_of(names, st.sampled_from(["shop", "library", "workflow"])), st.lists(scopes, max_size=8))
def test_a_build_never_pushes_outside_of_its_app_and_never_deletes(app: str, asked: list[str]) -> None:
    got = granted(wanted(asked), rights_of_build(app, SHARED))
    for one in got:
        assert one.actions <= {"pull", "push"}
        if "push" in one.actions:
            assert one.repository in (image_repository(app), cache_repository(app))
            assert not one.repository.startswith(SHARED)
        if one.repository not in (image_repository(app), cache_repository(app)):
            assert one.repository.startswith(SHARED)


@given(st.lists(scopes, max_size=8))
def test_nobody_gets_more_than_was_asked_for(asked: list[str]) -> None:
    words = {word for text in asked for word in text.split(" ")}
    for rights in (rights_of_operator, rights_of_machine, rights_of_build("shop", SHARED)):
        for one in granted(wanted(asked), rights):
            assert one.actions
            for action in one.actions:
                assert any(
                    word.startswith(f"repository:{one.repository}:") and action in word.rpartition(":")[2].split(",")
                    for word in words
                )


def test_scopes_come_one_by_one_or_with_blanks_and_each_repository_once() -> None:
    asked = ["repository:shop/shop:pull repository:library/busybox:pull", "repository:shop/shop:push,push"]
    assert wanted(asked) == [
        Access("shop/shop", frozenset({"pull", "push"})),
        Access("library/busybox", frozenset({"pull"})),
    ]


@pytest.mark.parametrize(
    "scope",
    [
        "repository:../shop:pull",
        "repository:shop//shop:pull",
        "repository:Shop/shop:pull",
        "repository:shop/shop",
        "repository::pull",
        "repository:host:5000/shop/shop:pull",
        f"repository:{'a/' * 127}aa:pull",
        "registry:catalog:*",
        "repository:shop/shop:pull\n",
    ],
)
def test_what_is_no_repository_is_nothing(scope: str) -> None:
    assert wanted([scope]) == []


def test_an_app_of_a_shared_name_does_not_push_for_all() -> None:
    assert rights_of_build("library", SHARED)("library/library") == {"pull"}
    assert rights_of_build("library", ())("library/library") == {"pull", "push"}
    assert rights_of_build("shop", ())("library/busybox") == frozenset()


def test_the_operator_does_all_and_machines_pull() -> None:
    asked = wanted(["repository:any/thing:pull,push,delete,other"])
    assert granted(asked, rights_of_operator) == [Access("any/thing", frozenset({"pull", "push", "delete"}))]
    assert granted(asked, rights_of_machine) == [Access("any/thing", frozenset({"pull"}))]


def test_passwords_are_for_one_build_and_one_purpose() -> None:
    key, build, other = b"k" * 32, UUID(int=1), UUID(int=2)
    password = registry_password(key, build)
    assert len(password) == 64
    assert is_registry_password(key, build, password)
    assert not is_registry_password(key, other, password)
    assert not is_registry_password(b"l" * 32, build, password)
    assert not is_registry_password(key, build, source_token(key, build))
    assert not is_registry_password(key, build, "é")


def test_the_docker_file_holds_one_account() -> None:
    (entry,) = json.loads(docker_auth("r.example:5000", "id", "pass:word"))["auths"].items()
    assert entry[0] == "r.example:5000"
    assert b64decode(entry[1]["auth"]) == b"id:pass:word"


def tokens_of(pair: MadePair, **facts: Any) -> RegistryTokens:
    given_: dict[str, Any] = {"key": pair.key, "certificates": pair.certificate, "issuer": "i", "service": "s"}
    return RegistryTokens(**{**given_, "now": NOW, **facts})


def test_a_token_says_who_for_what_and_until_when() -> None:
    pair = make_pair("builder")
    text = tokens_of(pair).sign("ana", [Access("shop/shop", frozenset({"push", "pull"}))], NOW)
    registry = JWSRegistry(algorithms=["ES256"])
    registry.max_header_length = 4096  # of a certificate
    token = jwt.decode(text, ECKey.import_key(pair.key), registry=registry)
    seconds = int(NOW.timestamp())
    jti = token.claims.pop("jti")
    assert len(jti) == 32
    assert token.claims == {
        "iss": "i",
        "sub": "ana",
        "aud": "s",
        "iat": seconds,
        "nbf": seconds,
        "exp": seconds + 300,
        "access": [{"type": "repository", "name": "shop/shop", "actions": ["pull", "push"]}],
    }
    (certificate,) = token.header["x5c"]
    assert x509.load_der_x509_certificate(b64decode(certificate)) == x509.load_pem_x509_certificate(
        pair.certificate.encode()
    )


GOOD = make_pair("builder")


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"key": "no key"}, "BUILDER_REGISTRY_TOKEN_KEY: must be"),
        ({"key": make_pair("x", kind="rsa").key}, "BUILDER_REGISTRY_TOKEN_KEY: must be"),
        ({"certificates": "no certificate"}, "BUILDER_REGISTRY_TOKEN_CERTIFICATE: must be"),
        ({"certificates": make_pair("x", number=5).certificate}, "is not that of"),
        ({"now": datetime(2024, 1, 1, tzinfo=UTC)}, "is not valid now"),
        ({"now": NOW + timedelta(days=30000)}, "is not valid now"),
    ],
    ids=["no key", "rsa", "no certificate", "other", "too early", "too late"],
)
def test_what_cannot_sign_is_told_at_the_start(facts: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        tokens_of(GOOD, **facts)
    assert "\n" not in caught.value.detail
    assert "PRIVATE" not in caught.value.detail


@given(st.one_of(names, st.sampled_from(["cache", "layers"])))
def test_no_app_keeps_layers_where_its_images_are(app: str) -> None:
    """What has not been used for long is removed there, all of it."""
    assert cache_repository(app) != image_repository(app)
    assert is_of_app(cache_repository(app))
    assert is_of_app(image_repository(app))
    assert not is_of_app("library/base")


@given(organizations, apps, apps)
def test_below_an_organization_each_app_has_repositories_of_its_own(organization: str, app: str, other: str) -> None:
    own = {image_repository(app, organization), cache_repository(app, organization)}
    assert len(own) == 2
    for repository in own:
        assert repository.startswith(f"{organization}/")
        assert is_below(organization, repository)
        assert is_of_app(repository, organization)
    if other != app:
        foreign = {image_repository(other, organization), cache_repository(other, organization)}
        assert not own & foreign
        # Those of before, unless an app is called like the organization.
        if organization != app:
            assert not {image_repository(app), cache_repository(app)} & foreign


@given(organizations, apps, st.lists(scopes, max_size=8))
def test_below_an_organization_a_build_pushes_to_its_own_two_repositories(
    organization: str, app: str, asked: list[str]
) -> None:
    own = {image_repository(app, organization), cache_repository(app, organization)}
    rights = rights_of_build(app, (), organization)
    assert all(rights(repository) == {"pull", "push"} for repository in own)
    for one in granted(wanted([*asked, f"repository:{app}/{app}:pull,push"]), rights):
        assert one.repository in own


def test_images_of_apps_are_known_as_such_below_an_organization_and_from_before() -> None:
    for repository in ("team/shop", "team/shop.cache", "shop/shop", "shop/cache"):
        assert is_of_app(repository, "team")
    for repository in ("team/base/shop", "team/work_flow", "team/.cache", "team", "other/shop", "library/base"):
        assert not is_of_app(repository, "team")
    assert not is_of_app("team/shop")
    assert not is_below("", "shop")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        *(("team", True), ("my-team", True), ("project/images", True), ("a.b/c__d/e--f", True), ("a" * 128, True)),
        *(("Team", False), ("/team", False), ("team/", False), ("a//b", False), ("..", False), ("a___b", False)),
        *(("team:1", False), ("team@x", False), ("te am", False), ("team\n", False), ("a" * 129, False), ("é", False)),
    ],
)
def test_an_organization_is_the_beginning_of_names_of_repositories(text: str, is_one: bool) -> None:
    assert is_organization(text) is is_one
