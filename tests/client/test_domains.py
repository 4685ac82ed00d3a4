"""`domains`, `certs` and `tls` against the suite (cli.md 10.15)."""

from __future__ import annotations

import json
import re

import pytest

from client.model.session import Session
from client.suite import Suite
from client.world import App, fail
from controller.domain.spec_network import NetworkObservation, TlsEvent
from support.certificates import make_pair

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
NO_DOMAIN = '"No Domain matches the given query."'
NO_CERTIFICATE = '"No Certificate matches the given query."'
NOTHING = 'Unknown Error (409): {"detail":"ana changed nothing"}'


async def test_domains(app: App) -> None:
    name = app.name
    assert (await app.ok("domains")).stdout == f"No domains found in {name} app.\n"
    added = await app.ok("domains", "add", f"{name}.example.org", "--ptype", "web")
    assert added.stdout == f"Adding {name}.example.org to {name}... done\n"
    assert added.requests == [f'POST /v2/apps/{name}/domains/ {{"domain":"{name}.example.org","ptype":"web"}}']
    await app.ok("domains", "add", f"*.{name}.example.org", "-p", "worker")
    listed = await app.ok("domains", "list", "-l", "10")
    assert listed.requests == [f"GET /v2/apps/{name}/domains/?limit=10"]
    assert listed.lines[0].split() == ["APP", "OWNER", "PTYPE", "CREATED", "UPDATED", "DOMAIN"]
    wildcard, plain = listed.lines[1:]
    assert re.fullmatch(rf"{name} +ana +worker +{TIME} +{TIME} +\*\.{name}\.example\.org", wildcard)
    assert re.fullmatch(rf"{name} +ana +web +{TIME} +{TIME} +{name}\.example\.org", plain)
    removed = await app.ok("domains", "remove", f"*.{name}.example.org")
    assert removed.stdout == f"Removing *.{name}.example.org from {name}... done\n"
    assert removed.requests == [f"DELETE /v2/apps/{name}/domains/%2A.{name}.example.org"]
    assert await app.refused("domains", "remove", f"*.{name}.example.org") == NO_DOMAIN


async def test_international_domains(app: App) -> None:
    domain = f"b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.{app.name}.example.org"
    ace = f"xn--bcher-kva.{app.name}.example.org"
    await app.ok("domains", "add", domain, "-p", "web")
    assert (await app.ok("domains")).lines[1].endswith(ace)
    again = await app.refused("domains", "add", ace, "-p", "web")
    assert again == "Domain is already in use by another application"
    same = await app.refused("domains", "add", domain, "-p", "web")
    assert same == f'Unknown Error (400): {{"domain":["The domain {domain} is already in use by another app"]}}'
    removed = await app.ok("domains", "remove", domain)
    assert removed.requests[0].endswith(f"/domains/b%C3%BCcher.{app.name}.example.org")


async def test_domains_belong_to_one_app(app: App, bo: Session) -> None:
    other = await App.create(app.suite, bo)
    await app.ok("domains", "add", f"{app.name}.example.org", "-p", "web")
    in_use = "Domain is already in use by another application"
    for who in (app, other):
        assert await who.refused("domains", "add", f"{app.name}.example.org", "-p", "web") == in_use
    dotted = await other.refused("domains", "add", f"{app.name}.example.org.", "-p", "web")
    text = f"The domain {app.name}.example.org is already in use by another app"
    assert dotted == f'Unknown Error (400): {{"domain":["{text}"]}}'
    assert await other.refused("domains", "remove", f"{app.name}.example.org") == NO_DOMAIN


@pytest.mark.parametrize(
    ("domain", "error"),
    [
        ("*", '"Hostname can\'t only be a wildcard"'),
        ("a." * 128, '"Hostname must be 253 characters or less."'),
        *(
            (domain, '"Hostname does not look valid, could not convert to ACE ')
            for domain in ("foo.*.com", "a_b.com", "a..b", "xn--", "l" * 64 + ".com", "a b.com")
        ),
    ],
)
async def test_domains_that_are_refused(still: App, domain: str, error: str) -> None:
    shown = await still.refused("domains", "add", domain, "-p", "web")
    assert shown.startswith(f'Unknown Error (400): {{"domain":[{error}')
    assert (await still.ok("domains")).stdout == f"No domains found in {still.name} app.\n"


async def test_domains_that_the_client_has_words_for(still: App) -> None:
    assert await still.refused("domains", "add", "x.1", "-p", "web") == "Hostname does not look valid."
    assert await still.refused("domains", "add", "x.example.org") == 'required flag(s) "ptype" not set'
    empty = await still.refused("domains", "add", "", "-p", "web")
    assert empty == 'Unknown Error (400): {"domain":["This field may not be blank."]}'
    short = await still.refused("domains", "add", "x.example.org", "-p", "w")
    assert short == 'Unknown Error (400): {"ptype":["The length of ptype must be between 3 and 63"]}'


async def test_a_domain_without_a_dot_stands_for_a_label(app: App) -> None:
    await app.ok("domains", "add", app.name, "-p", "web")
    assert re.search(rf"^URL: +{app.name}\.0\.0\.1$", "\n".join((await app.ok("info")).lines), re.M)


def write_pair(session: Session, *names: str, number: int = 0) -> tuple[str, str]:
    """Files of a certificate and its key, in the user's directory."""
    pair = make_pair(*names, number=number)
    for file, content in (("cert.pem", pair.certificate), ("key.pem", pair.key)):
        (session.directory / file).write_text(content)
    return pair.certificate, pair.key


async def test_certs(app: App) -> None:
    name = app.name
    domain = f"{name}.example.org"
    certificate, key = write_pair(app.owner, domain, f"www.{domain}", f"a-long-name.{domain}")
    assert (await app.ok("certs")).stdout == "No certs\n"
    added = await app.ok("certs", "add", "shop-cert", "cert.pem", "key.pem")
    assert added.stdout == "Adding SSL endpoint... done\n"
    sent = json.loads(added.exchanges[0].body)
    assert sent == {"certificate": certificate, "key": key, "name": "shop-cert"}
    assert b"BEGIN" not in added.exchanges[0].response.body
    listed = await app.ok("certs", "list")
    assert listed.lines[0].split() == ["NAME", "COMMON-NAME", "EXPIRES", "SAN", "DOMAINS"]
    san = f"{domain},www.{domain},a-long-name.{domain}"[:32] + "[...]"
    assert re.split(r" {2,}", listed.lines[1]) == ["shop-cert", domain, "5 Oct 2079", san, "<none>"]
    await app.ok("domains", "add", domain, "-p", "web")
    attached = await app.ok("certs", "attach", "shop-cert", domain)
    assert attached.stdout == f"Attaching certificate shop-cert to domain {domain}... done\n"
    assert attached.requests == [f'POST /v2/apps/{name}/certs/shop-cert/domain/ {{"domain":"{domain}"}}']
    shown = await app.ok("certs", "info", "shop-cert")
    assert shown.requests == [f"GET /v2/apps/{name}/certs/shop-cert"]
    facts = dict(re.split(r":\s+", line, maxsplit=1) for line in shown.lines if line)
    assert (facts["Expires At"], facts["Starts At"]) == ("2079-10-05T00:00:00Z", "2025-01-01T00:00:00Z")
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", facts["Fingerprint"])
    assert facts["Subject Alt Name"] == f"{domain},www.{domain},a-long-name.{domain}"
    assert (facts["Subject"], facts["Issuer"]) == (f"/CN={domain}", f"/CN={domain}")
    assert (facts["Connected Domains"], facts["Owner"]) == (domain, "ana")
    detached = await app.ok("certs", "detach", "shop-cert", domain)
    assert detached.stdout == f"Detaching certificate shop-cert from domain {domain}... done\n"
    assert detached.requests == [f"DELETE /v2/apps/{name}/certs/shop-cert/domain/{domain}"]
    await app.ok("certs", "attach", "shop-cert", domain)
    removed = await app.ok("certs", "remove", "shop-cert")
    assert removed.stdout == "Removing shop-cert... done\n"
    assert removed.requests == [f"DELETE /v2/apps/{name}/certs/shop-cert"]
    assert await app.refused("certs", "info", "shop-cert") == NO_CERTIFICATE
    assert await app.refused("certs", "remove", "shop-cert") == NO_CERTIFICATE


async def test_certs_that_are_refused(app: App, bo: Session) -> None:
    write_pair(app.owner, "shop.example.org")
    (app.owner.directory / "bad.pem").write_text("no certificate")
    assert await app.refused("certs", "add", "cert", "bad.pem", "key.pem") == "Could not load certificate"
    (app.owner.directory / "empty.pem").write_text("")
    assert await app.refused("certs", "add", "cert", "empty.pem", "key.pem") == "Could not load certificate"
    key = await app.refused("certs", "add", "cert", "cert.pem", "bad.pem")
    assert key.startswith('Unknown Error (400): {"key":["Could not load private key: ')
    missing = await app.refused("certs", "add", "cert", "cert.pem", "nowhere.pem")
    assert missing == "open nowhere.pem: no such file or directory"
    name = await app.refused("certs", "add", "My_Cert", "cert.pem", "key.pem")
    assert name == "name can only contain a-z (lowercase), 0-9 and hyphens"
    await app.ok("certs", "add", "cert", "cert.pem", "key.pem")
    again = await app.refused("certs", "add", "cert", "cert.pem", "key.pem")
    assert again == ('Unknown Error (400): {"non_field_errors":["The fields app, name must make a unique set."]}')
    (app.owner.directory / "other.pem").write_text(make_pair("x.example.org", number=1).key)
    mismatch = await app.refused("certs", "add", "other", "cert.pem", "other.pem")
    assert mismatch == 'Unknown Error (400): ["Certificate and private key do not match!"]'
    assert await app.refused("certs", "attach", "cert", "nowhere.example.org") == NO_DOMAIN
    assert await app.refused("certs", "attach", "nope", "nowhere.example.org") == NO_CERTIFICATE
    assert await app.refused("certs", "attach", "cert", "") == (
        'Unknown Error (400): {"detail":"domain is a required field"}'
    )
    other = await App.create(app.suite, bo)
    await other.ok("domains", "add", f"{other.name}.example.org", "-p", "web")
    assert await app.refused("certs", "attach", "cert", f"{other.name}.example.org") == NO_DOMAIN
    await app.ok("domains", "add", f"{app.name}.example.org", "-p", "web")
    twice = await app.refused("certs", "detach", "cert", f"{app.name}.example.org")
    assert f"Could not delete certificate secret cert-certificate for application {app.name}" in twice


async def test_tls(app: App) -> None:
    shown = await app.ok("tls", "info")
    assert shown.requests == [f"GET /v2/apps/{app.name}/tls/"]
    words = shown.stdout.split()
    assert words[words.index("Owner:") + 1] == "ana"
    assert words[words.index("CertsAuto:") + 1] == "false"
    assert words[words.index("HTTPSEnforced:") + 1] == "false"
    for group, field, what in (("force", "https_enforced", "https-only"), ("auto", "certs_auto_enabled", "certs-auto")):
        enabled = await app.ok("tls", group, "enable")
        assert enabled.stdout == f"Enabling {what} requests for {app.name}... done\n"
        assert enabled.requests == [f'POST /v2/apps/{app.name}/tls/ {{"{field}":true}}']
        assert await app.refused("tls", group, "enable") == NOTHING
    issuer = ("--email=ops@example.org", "--server", "https://acme.example.org/dir", "--key-id=id", "--key-secret=s3c")
    made = await app.ok("tls", "issuer", *issuer)
    assert made.stdout == f"Adding issuer requests for {app.name}... done\n"
    sent = {"email": "ops@example.org", "server": "https://acme.example.org/dir", "key_id": "id", "key_secret": "s3c"}
    assert json.loads(made.exchanges[0].body) == {"issuer": sent}
    disabled = await app.ok("tls", "force", "disable")
    assert disabled.stdout == f"Disabling https-only requests for {app.name}... done\n"
    words = (await app.ok("tls")).stdout.split()
    assert words[words.index("CertsAuto:") + 1] == "true"  # the reference reset the others
    assert words[words.index("HTTPSEnforced:") + 1] == "false"
    assert words[words.index("Email:") + 1] == "ops@example.org"
    assert words[words.index("Server:") + 1] == "https://acme.example.org/dir"


async def test_tls_that_is_refused(still: App) -> None:
    for group in ("force", "auto"):
        error = await still.refused("tls", group, "on")
        assert error == "invalid action: on, please use 'enable' or 'disable'"
    missing = await still.refused("tls", "issuer", "--email=a@example.org")
    assert missing == 'required flag(s) "key-id", "key-secret", "server" not set'


async def test_tls_events(suite: Suite, app: App) -> None:
    event = TlsEvent(app.name, "Issuer", "2025-02-03T04:05:06Z", "Ready", "True", "registered")
    suite.engine.show_network(app.name, NetworkObservation(tls_events=(event,)))
    words = (await app.ok("tls")).stdout.split()
    assert words[words.index("Events:") + 1 :] == [
        *("Name:", app.name, "Kind:", "Issuer", "Time:", "2025-02-03T04:05:06Z"),
        *("Type:", "Ready", "Status:", "True", "Message:", "registered"),
    ]


async def test_domains_of_others(still: App, bo: Session) -> None:
    for words in (("domains", "add", "x.example.org", "-p", "web"), ("certs", "info", "c"), ("tls", "auto", "enable")):
        assert await fail(bo, *words, "-a", still.name) == '"No App matches the given query."'
