"""One good request for every operation of the controller's API, in an order in which they all succeed.

What they leave behind is what other requests aim at: an app with everything in it, and names that are known.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, Final

from schemathesis import Response

from support.certificates import make_pair

APP: Final = "shop"
SPARE_APP: Final = "spare"
"""An app that may be destroyed or blocked."""
HOST: Final = "shop.example.org"
PUSH: Final = {"receive_user": "ana", "receive_repo": APP}
IMAGE: Final = {"image": "registry.example.org/shop:1", "stack": "container"}
BUILD: Final = {**IMAGE, "procfile": {"web": "./serve", "worker": "./work"}}
RULES: Final = [{"backendRefs": [{"kind": "Service", "name": APP, "port": 8000, "weight": 100}]}]
Names = dict[str, str]
Learn = Callable[[Response], Names]


@dataclass(frozen=True)
class Step:
    """A request. Texts in braces stand for names that earlier answers gave; `learn` takes names from this answer.
    `settles`: what it starts has to end before the next one."""

    operation: str
    path: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    who: str | None = None
    status: int | None = None
    learn: Learn | None = None
    settles: bool = False


def _in(operation: str, body: Any = None, *, settles: bool = False, learn: Learn | None = None, **path: str) -> Step:
    """A request about the app."""
    return Step(operation, {"app_id": APP, **path}, body, settles=settles, learn=learn)


def _first(key: str, name: str) -> Learn:
    return lambda answer: {name: answer.json()["results"][0][key]}


def _found(pattern: str, name: str) -> Learn:
    def learn(answer: Response) -> Names:
        found = re.search(pattern, " ".join(answer.headers.get("location", ())) + answer.text)
        assert found is not None
        return {name: found[1]}

    return learn


def _form(answer: Response) -> Names:
    """What the page that asks about a login wants back."""
    cookie = SimpleCookie(answer.headers["set-cookie"][0])
    return {name: morsel.value for name, morsel in cookie.items()} | _found(
        'name="form_token" value="([^"]+)"', "form_token"
    )(answer)


def _public_key(seed: str) -> str:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + seed.encode().ljust(32, b"-")
    return f"ssh-ed25519 {b64encode(blob).decode()} {seed}"


ACCOUNTS: Final = (
    Step("root"),
    Step("whoami"),
    Step("list_tokens", learn=lambda answer: {each["alias"]: each["uuid"] for each in answer.json()["results"]}),
    Step("add_key", body={"id": "laptop", "public": _public_key("ana")}),
    Step("add_key", body={"id": "desk", "public": _public_key("bo")}, who="bo"),
    Step("add_key", body={"id": "spare", "public": _public_key("cleo")}),
    Step("delete_key", {"name": "spare"}),
    Step("list_keys", learn=_first("fingerprint", "fingerprint")),
    Step("get_key", {"name": "laptop"}),
    Step("list_users", who="root"),
    Step("disable_user", {"username": "cleo"}, who="root"),
    Step("enable_user", {"username": "cleo"}, who="root"),
    Step("start_login", body={}, status=302, learn=_found(r"key=(\w+)", "login")),
    Step("ask_about_login", query={"key": "{login}"}, learn=_form),
    Step(
        "answer_about_login",
        body={"key": "{login}", "form_token": "{form_token}", "answer": "no"},
        headers={"Cookie": "drycc_login_form={drycc_login_form}"},
    ),
    Step("poll_login", {"key": "{login}"}, query={"alias": "tests"}),
    Step("complete_login", query={"state": "unknown"}, status=403),
    Step("read_openapi"),
)

APPS: Final = (
    Step("create_app", body={"id": APP}),
    Step("create_app", body={"id": SPARE_APP}),
    Step("list_apps", query={"search": "sh", "limit": "1"}),
    _in("get_app"),
    _in("transfer_app", {"owner": "ana"}),
    _in("add_grant", {"username": "bo", "permissions": "view"}),
    _in("replace_grants", {"permissions": "view,change"}, username="bo"),
    _in("add_grant", {"username": "cleo", "permissions": "view"}),
    _in("remove_grants", username="cleo"),
    _in("list_grants"),
    _in("get_build"),
    _in("create_build", BUILD, settles=True),
    _in("get_build"),
    _in(
        "change_config",
        {
            "values": [
                {"name": "DEBUG", "group": "shared", "value": "1"},
                {"name": "PORT", "ptype": "web", "value": "8080"},
            ],
            "values_refs": {"web": ["shared"], "worker": ["shared"]},
            "limits": {"web": "std1.large.c1m2"},
            "registry": {"web": {"username": "bot", "password": "secret"}},
            "healthcheck": {"web": {"livenessProbe": {"httpGet": {"path": "/live", "port": 8080}}}},
            "termination_grace_period": {"web": 45},
            "lifecycle_pre_stop": {"web": {"exec": {"command": ["sleep", "1"]}}},
        },
        settles=True,
    ),
    _in("get_config"),
    _in("detach_groups", {"values_refs": {"worker": ["shared"]}}, settles=True),
    _in("list_releases"),
    _in("get_release", version="v2"),
    _in("deploy", {"ptypes": "web", "force": True}, settles=True),
    _in("roll_back", {"version": 2}, settles=True),
    _in(
        "change_settings",
        {
            "label": {"team": "shop"},
            "autoscale": {"web": {"min": 1, "max": 3, "cpu_percent": 60}},
            "autorollback": False,
        },
    ),
    _in("get_settings"),
)

PROCESSES: Final = (
    _in("scale", {"web": 2, "worker": 1}),
    _in("restart", {"ptypes": "web"}),
    _in("clean", {"ptypes": "old"}),
    _in("list_ptypes"),
    _in("describe_ptype", name=f"{APP}-web"),
    _in("list_pods", learn=_first("name", "pod")),
    _in("describe_pod", name="{pod}"),
    Step("list_events", {"app_id": APP}, query={"pod_name": "{pod}"}),
    Step("list_events", {"app_id": APP}, query={"ptype": f"{APP}-web"}),
    _in("delete_pods", {"pod_ids": "none-of-that-name"}),
    _in("run_command", {"command": "ls"}),
    _in("start_job", {"command": ["echo", "hello"]}, learn=lambda answer: {"job": answer.json()["name"]}),
    _in("stop_job", name="{job}"),
    _in("list_jobs"),
    _in("get_job", name="{job}"),
    _in("read_log", name="{job}"),
    _in("last_samples"),
    _in("usage", ptype="web"),
    Step("find_key", {"fingerprint": "{fingerprint}"}),
    Step("list_keys_of_app", {"app_id": APP}),
    Step("list_builds_to_keep", {"app_id": APP}),
    Step("list_keys_of", {"app_id": APP, "username": "bo"}),
    Step("get_config_to_build", body=PUSH),
    Step("create_pushed_build", body={**PUSH, **BUILD, "sha": "0123456789", "dryccfile": None}, settles=True),
)

STORAGE: Final = (
    Step("list_specs", query={"keywords": "std1"}),
    Step("list_plans", query={"cpu": "1"}),
    Step("get_plan", {"plan": "std1.large.c1m1"}),
    _in("create_volume", {"name": "data", "size": "5G"}),
    _in("create_volume", {"name": "spare", "size": "5G"}),
    _in("delete_volume", name="spare"),
    _in("list_volumes"),
    _in("get_volume", name="data"),
    _in("expand_volume", {"size": "10G"}, name="data"),
    _in("mount_volume", {"path": {"web": "/data"}}, name="data"),
    *(
        Step(
            "upload_file",
            {"app_id": APP, "name": "data"},
            b"hello",
            headers={"Content-Disposition": f"attachment;filename*=utf-8''{name};filepath*=utf-8''docs"},
        )
        for name in ("a.txt", "b.txt")
    ),
    Step("list_files", {"app_id": APP, "name": "data"}, query={"path": "docs"}),
    _in("download_file", name="data", path="docs/a.txt"),
    _in("delete_file", name="data", path="docs/b.txt"),
    Step("list_broker_services"),
    Step("list_broker_plans", {"service": "postgres"}),
    _in("create_resource", {"name": "database", "plan": "postgres:standard-10", "options": {"size": 10}}),
    _in("get_resource", name="database"),
    _in("change_binding", {"bind_action": "bind"}, name="database"),
    _in("get_resource", name="database"),
    _in("update_resource", {"plan": "postgres:standard-50"}, name="database"),
    _in("create_resource", {"name": "spare", "plan": "redis:standard-128"}),
    _in("get_resource", name="spare"),
    _in("delete_resource", name="spare"),
    _in("list_resources"),
)

_PAIR: Final = make_pair(HOST)
NETWORK: Final = (
    _in("add_domain", {"domain": HOST, "ptype": "web"}),
    _in("add_domain", {"domain": "spare.example.org", "ptype": "web"}),
    _in("remove_domain", domain="spare.example.org"),
    _in("list_domains"),
    _in("add_certificate", {"name": "cert", "certificate": _PAIR.certificate, "key": _PAIR.key}),
    _in("add_certificate", {"name": "spare", "certificate": _PAIR.certificate, "key": _PAIR.key}),
    _in("remove_certificate", name="spare"),
    _in("attach_certificate", {"domain": HOST}, name="cert"),
    _in("detach_certificate", name="cert", domain=HOST),
    _in("attach_certificate", {"domain": HOST}, name="cert"),
    _in("list_certificates"),
    _in("get_certificate", name="cert"),
    _in("change_tls", {"https_enforced": True}),
    _in("get_tls"),
    _in("add_service_port", {"ptype": "worker", "port": 9000, "protocol": "TCP", "target_port": 9000}),
    _in("add_service_port", {"ptype": "web", "port": 8000, "protocol": "TCP", "target_port": 8080}),
    _in("remove_service_port", {"ptype": "worker", "port": 9000, "protocol": "TCP"}),
    _in("list_services"),
    _in("add_gateway_port", {"name": "gate", "port": 8000, "protocol": "HTTP"}),
    _in("add_gateway_port", {"name": "gate", "port": 8001, "protocol": "TCP"}),
    _in("remove_gateway_port", {"name": "gate", "port": 8001, "protocol": "TCP"}),
    _in("list_gateways"),
    _in("create_route", {"name": "front", "kind": "HTTPRoute", "rules": RULES}),
    _in("create_route", {"name": "spare", "kind": "HTTPRoute", "rules": RULES}),
    _in("remove_route", name="spare"),
    _in("attach_route", {"gateway": "gate", "port": 8000}, name="front"),
    _in("detach_route", {"gateway": "gate", "port": 8000}, name="front"),
    _in("attach_route", {"gateway": "gate", "port": 8000}, name="front"),
    _in("get_route_rules", name="front"),
    _in("replace_route_rules", RULES, name="front"),
    _in("list_routes"),
    _in("list_routes_of_any_name", name="any"),
)

ENDS: Final = (
    Step("block", {"kind": "apps", "id": SPARE_APP}, {"remark": "unpaid"}),
    Step("unblock", {"kind": "apps", "id": SPARE_APP}),
    _in("list_app_audit"),
    Step("list_audit", who="root"),
    Step("create_app", body={"id": "doomed"}),
    Step("delete_app", {"app_id": "doomed"}),
    Step("delete_token", {"uuid": "{spare token}"}),
)

STEPS: Final = (*ACCOUNTS, *APPS, *PROCESSES, *STORAGE, *NETWORK, *ENDS)

_NAMES: Final[tuple[tuple[str, str], ...]] = (
    ("/pods/", "{pod}"),
    ("/ptypes/", f"{APP}-web"),
    ("/jobs/", "{job}"),
    ("/volumes/", "data"),
    ("/resources/", "database"),
    ("/certs/", "cert"),
    ("/routes/", "front"),
    ("/keys/", "laptop"),
)
_OTHERS: Final[Mapping[str, str]] = {
    "app_id": APP, "username": "bo", "uuid": "{known token}", "fingerprint": "{fingerprint}", "version": "v2",
    "key": "{login}", "plan": "std1.large.c1m1", "path": "docs/a.txt", "service": "postgres", "domain": HOST,
    "ptype": "web", "kind": "apps", "id": SPARE_APP,
}  # fmt: skip


def known_path(template: str, placeholders: list[str], names: Names) -> Names:
    """What stands for the placeholders of a path so that the request finds something."""
    known = {}
    for placeholder in placeholders:
        text = _OTHERS.get(placeholder)
        if placeholder == "name":
            text = next(name for part, name in _NAMES if f"{part}{{name}}" in template)
        assert text is not None, f"{template}: nothing is known that {placeholder} could be"
        known[placeholder] = filled(text, names)
    return known


def filled(value: Any, names: Names) -> Any:
    """`value` with the names that its texts stand for."""
    if isinstance(value, str):
        return re.sub(r"^\{([\w ]+)\}$|(?<==)\{(\w+)\}", lambda found: names[found[1] or found[2]], value)
    if isinstance(value, Mapping):
        return {key: filled(item, names) for key, item in value.items()}
    return value
