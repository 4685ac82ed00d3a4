"""Encryption keys that rotate while the platform runs, and who the audit trail says has asked."""

import json
import stat

import pytest

from controller.repositories.cipher import read_key_ring
from e2e.live import Live, User, workflow

pytestmark = pytest.mark.timeout(300)


def config(user: User, app: str) -> dict[str, str]:
    """The variables of an app."""
    values = user.call("GET", f"/v2/apps/{app}/config/", expect=200)["values"]
    return {item["name"]: item["value"] for item in values}


def test_the_keys_of_a_running_platform_are_rotated(live: Live, admin: User) -> None:
    admin.call("POST", "/v2/apps/", json={"id": "rotated"}, expect=201)
    url = "/v2/apps/rotated/config/"
    first = {"values": [{"name": "FIRST", "value": "before the rotation", "group": "global"}]}
    admin.call("POST", url, json=first, expect=201)
    (former,) = read_key_ring(live.home.key_ring)
    done = workflow(live.home.path, "controller", "rotate-keys", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["renewed"] > 0
    assert report["tables"]["configs"]["renewed"] > 0
    (key,) = read_key_ring(live.home.key_ring)
    assert key != former
    assert stat.S_IMODE(live.home.key_ring.stat().st_mode) == 0o600
    assert config(admin, "rotated") == {"FIRST": "before the rotation"}
    second = {"values": [{"name": "SECOND", "value": "after it", "group": "global"}]}
    admin.call("POST", url, json=second, expect=201)
    done = workflow(live.home.path, "controller", "rotate-keys")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "secrets have a new key" in done.stdout
    assert config(admin, "rotated") == {"FIRST": "before the rotation", "SECOND": "after it"}
    assert all(secret not in done.stdout + done.stderr for secret in (former, key, *read_key_ring(live.home.key_ring)))


def test_without_a_platform_there_is_nothing_to_rotate(tmp_path_factory: pytest.TempPathFactory) -> None:
    done = workflow(tmp_path_factory.mktemp("nothing"), "controller", "rotate-keys")
    assert done.returncode == 3
    assert "no platform runs" in done.stderr


def test_the_audit_trail_has_the_clients_own_address(live: Live, admin: User) -> None:
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9"}
    admin.call("POST", "/v2/apps/", json={"id": "audited"}, headers=headers, expect=201)
    (entry,) = admin.call("GET", "/v2/apps/audited/audit/", expect=200)["results"]
    assert (entry["actor"], entry["action"], entry["source"]) == (admin.name, "app.created", "api")
    assert entry["address"] == "127.0.0.1"
