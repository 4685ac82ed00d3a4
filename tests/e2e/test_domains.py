"""Host names of users' own: they lead to the app at once, and nowhere when they or the app are gone."""

import httpx
import pytest

from e2e.live import GOOD, Live, User, eventually

NO_WILDCARDS = {"detail": "the edge of this platform routes no wildcards: add each host name by itself"}


def answer(live: Live, host: str) -> tuple[int, str]:
    """Status and text of one request to the edge for this host."""
    url = f"http://127.0.0.1:{live.config.http_port}/"
    headers = {"Host": f"{host}:{live.config.http_port}", "Connection": "close"}
    response = httpx.get(url, headers=headers, trust_env=False, timeout=30)
    return response.status_code, response.text


def wait_for(live: Live, host: str, wanted: tuple[int, str]) -> None:
    """Wait until the edge answers so."""
    eventually(lambda: answer(live, host) == wanted, f"{host} to answer {wanted}")


@pytest.mark.timeout(300)
def test_a_domain_leads_to_the_app_until_it_is_removed(live: Live, admin: User) -> None:
    admin.call("POST", "/v2/apps/", expect=201, json={"id": "domains"})
    url = "/v2/apps/domains"
    early = {"domain": "early.example.org", "ptype": "web"}
    admin.call("POST", f"{url}/domains/", expect=201, json=early)
    assert answer(live, "early.example.org")[0] == 404
    pushed = live.push(admin, live.repository("domains", GOOD), "domains")
    assert pushed.returncode == 0, pushed.stderr
    served = (200, "v2 - one")
    wait_for(live, "early.example.org", served)

    for sent in ("münchen.example.org", "boutique"):
        admin.call("POST", f"{url}/domains/", expect=201, json={"domain": sent, "ptype": "web"})
    hosts = ("xn--mnchen-3ya.example.org", f"boutique.{live.config.domain}")
    for host in hosts:
        wait_for(live, host, served)
    assert answer(live, "EARLY.example.org") == served
    assert answer(live, f"domains.{live.config.domain}") == served

    assert admin.call("POST", f"{url}/domains/", expect=400, json={"domain": "*.x.org", "ptype": "web"}) == NO_WILDCARDS
    taken = {"domain": ["Domain is already in use by another application"]}
    for host in (f"drycc.{live.config.domain}", f"drycc-passport.{live.config.domain}"):
        assert admin.call("POST", f"{url}/domains/", expect=400, json={"domain": host, "ptype": "web"}) == taken
    assert "ends no TLS" in admin.call("POST", f"{url}/tls/", expect=400, json={"https_enforced": True})["detail"]

    admin.call("POST", f"{url}/settings/", expect=201, json={"routable": False})
    eventually(lambda: answer(live, "early.example.org")[0] == 404, "an app that is not routable to be gone")
    admin.call("POST", f"{url}/settings/", expect=201, json={"routable": True})
    wait_for(live, "early.example.org", served)

    admin.call("DELETE", f"{url}/domains/münchen.example.org", expect=204)
    eventually(lambda: answer(live, hosts[0])[0] == 404, "the removed domain to be gone")
    assert answer(live, "early.example.org") == served

    admin.call("DELETE", f"{url}/", expect=204)
    eventually(lambda: answer(live, "early.example.org")[0] == 404, "the domains of a destroyed app to be gone")
