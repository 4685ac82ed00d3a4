"""The weaknesses of kubernetes.md 5 that show in what is rendered, by their numbers, and the rules beside them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controller.domain.plans import Catalog
from controller.domain.spec import AppSpec, JobSpec, Probe, ProcessSpec
from controller.domain.spec_storage import Mount, VolumeSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig, RegistryCredentials
from controller.engine.kubernetes.manifests import Manifest, check_handlers, render, render_foundation, render_job
from controller.engine.kubernetes.manifests.secrets import DOCKER_HUB, key_of, registry_host
from controller.engine.port import NotSupportedError
from support.kubernetes_specs import APP, CAREFUL, CATALOG, CONFIG, JOB, MINIMAL, OSS_SECRET, RICH, SCALED, VOLUMES

WEB = MINIMAL.processes[0]


def only(manifests: Iterable[Manifest], kind: str, name: str = "") -> Manifest:
    """The one manifest of that kind (and name, where there are several)."""
    found = [item for item in manifests if item["kind"] == kind and (not name or item["metadata"]["name"] == name)]
    assert len(found) == 1, [item["metadata"]["name"] for item in found]
    return found[0]


def deployment(process: ProcessSpec, config: KubernetesConfig = CONFIG) -> dict[str, Any]:
    return only(render(AppSpec(APP, (process,)), config), "Deployment")


def pod(process: ProcessSpec, config: KubernetesConfig = CONFIG) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(process, config)["spec"]["template"]["spec"]
    return spec


def container(process: ProcessSpec, config: KubernetesConfig = CONFIG) -> dict[str, Any]:
    found: dict[str, Any] = pod(process, config)["containers"][0]
    return found


def surge(process: ProcessSpec, config: KubernetesConfig = CONFIG) -> object:
    return deployment(process, config)["spec"]["strategy"]["rollingUpdate"]["maxSurge"]


def env_secret(process: ProcessSpec) -> Manifest:
    return only(render(AppSpec(APP, (process,)), CONFIG), "Secret")


# --- rollouts ---


def test_weakness_1_a_deployment_says_by_itself_when_it_does_not_get_on() -> None:
    asked = replace(WEB, start_deadline=timedelta(seconds=60), readiness=Probe("tcp", initial_delay=timedelta(9)))
    assert deployment(WEB)["spec"]["progressDeadlineSeconds"] == 120
    assert deployment(asked)["spec"]["progressDeadlineSeconds"] == 60 + 9 * 86400 + 33


def test_a_deadline_beyond_what_the_api_can_hold_is_cut() -> None:
    endless = Probe("tcp", period=timedelta(seconds=10**6), failure_threshold=10**4)
    assert deployment(replace(WEB, liveness=endless))["spec"]["progressDeadlineSeconds"] == 2**31 - 1


@pytest.mark.parametrize("batches", ["0", "", "x", "-1"])
def test_weakness_12_the_surge_never_depends_on_machines_and_is_never_none(batches: str) -> None:
    process = replace(WEB, env={"DRYCC_DEPLOY_BATCHES": batches})
    assert surge(process) == "25%"
    assert surge(process, replace(CONFIG, deploy_batches=0)) == "25%"
    assert deployment(process)["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_weakness_12_the_app_wins_over_the_operator_and_the_replicas_over_both() -> None:
    assert surge(replace(WEB, replicas=9), replace(CONFIG, deploy_batches=2)) == 2
    assert surge(replace(WEB, replicas=9, env={"DRYCC_DEPLOY_BATCHES": "4"}), replace(CONFIG, deploy_batches=2)) == 4
    assert surge(replace(WEB, replicas=3, env={"DRYCC_DEPLOY_BATCHES": "4"})) == 3


def test_weakness_14_a_changed_variable_makes_another_secret_and_leaves_the_old_one_alone() -> None:
    before, after = env_secret(replace(WEB, env={"A": "1"})), env_secret(replace(WEB, env={"A": "2"}))
    assert before["metadata"]["name"] != after["metadata"]["name"]
    assert before["immutable"] is after["immutable"] is True
    assert env_secret(replace(WEB, env={"A": "1"}, release=9, replicas=7)) == before


def test_the_order_of_variables_means_nothing() -> None:
    one, other = replace(WEB, env={"A": "1", "B": "2"}), replace(WEB, env={"B": "2", "A": "1"})
    assert json.dumps(render(AppSpec(APP, (one,)), CONFIG)) == json.dumps(render(AppSpec(APP, (other,)), CONFIG))


def test_weakness_15_a_release_command_has_the_variables_and_the_plan_of_its_own_type() -> None:
    process = replace(JOB.process, ptype="worker", plan="gpu", env={"ONLY": "worker"})
    secret, job = render_job(replace(JOB, process=process), CONFIG)
    assert secret["data"] == {"ONLY": base64.b64encode(b"worker").decode()}
    assert secret["metadata"]["name"].startswith("tidepool-worker-env-")
    spec = job["spec"]["template"]["spec"]
    assert spec["runtimeClassName"] == "nvidia"
    refs = [entry["valueFrom"].get("secretKeyRef") for entry in spec["containers"][0]["env"]]
    assert {"name": secret["metadata"]["name"], "key": "ONLY"} in refs


def test_weakness_15_no_service_sends_requests_to_a_release_command() -> None:
    labels = render_job(JOB, CONFIG)[-1]["spec"]["template"]["metadata"]["labels"]
    assert JOB.process.ptype == "web"
    assert labels["type"] == "run"
    assert not names.selector(APP, "web").items() <= labels.items()


def test_a_job_runs_once_and_is_asked_nothing() -> None:
    job = render_job(JOB, CONFIG)[-1]["spec"]
    assert (job["backoffLimit"], job["ttlSecondsAfterFinished"]) == (0, 3600)
    # Its pod ends in time, with its output; the Job's own deadline would delete it.
    assert (job["template"]["spec"]["activeDeadlineSeconds"], job["activeDeadlineSeconds"]) == (900, 1500)
    spec = job["template"]["spec"]
    assert spec["restartPolicy"] == "Never"
    assert not {"readinessProbe", "livenessProbe", "startupProbe", "lifecycle"} & set(spec["containers"][0])


def test_a_one_off_keeps_the_handlers_that_were_given_to_run() -> None:
    process = replace(JOB.process, ptype="run", must_listen=False)
    made = render_job(replace(JOB, process=process), CONFIG)[-1]["spec"]["template"]["spec"]["containers"][0]
    assert made["lifecycle"] == {"preStop": JOB.process.pre_stop}


def test_a_job_without_time_still_has_a_second() -> None:
    brief = JobSpec(APP, "x-run-1", WEB, timeout=timedelta(0), ttl=timedelta(days=10**5))
    job = render_job(brief, CONFIG)[-1]["spec"]
    pod = job["template"]["spec"]
    assert (pod["activeDeadlineSeconds"], job["ttlSecondsAfterFinished"]) == (1, 2**31 - 1)


def test_weakness_18_every_process_type_runs_its_own_line() -> None:
    assert container(replace(WEB, shell="gunicorn app", stack="heroku-24"))["command"] == [
        *("/bin/sh", "-c"),
        "exec gunicorn app",
    ]
    assert container(replace(WEB, shell="cd x && ./run"))["command"] == ["/bin/sh", "-c", "cd x && ./run"]
    assert "args" not in container(replace(WEB, shell="gunicorn app"))


def test_a_shell_gets_its_line_as_it_was_written() -> None:
    """Kubernetes would replace `$(PORT)` and take `$$` for one dollar sign."""
    assert container(replace(WEB, shell="echo $$ $(PORT) $PORT;"))["command"][2] == "echo $$$ $$(PORT) $PORT;"


def test_an_image_keeps_its_entrypoint_unless_another_is_named() -> None:
    assert "command" not in container(replace(WEB, args=("serve",)))
    assert container(replace(WEB, args=("serve",)))["args"] == ["serve"]
    assert container(replace(WEB, command=("a", "b")))["command"] == ["a", "b"]


def test_weakness_20_with_an_autoscaler_the_number_of_replicas_is_its_own() -> None:
    made = render(SCALED, CONFIG)
    assert "replicas" not in only(made, "Deployment", "tidepool-web")["spec"]
    scaler = only(made, "HorizontalPodAutoscaler")
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 8)
    assert scaler["spec"]["scaleTargetRef"]["name"] == "tidepool-web"


def test_what_is_to_have_no_replicas_has_none_whatever_its_autoscaler_thinks() -> None:
    assert only(render(SCALED, CONFIG), "Deployment", "tidepool-worker")["spec"]["replicas"] == 0


# --- names and places ---


def test_weakness_46_names_of_app_and_type_together_may_be_long() -> None:
    app, ptype = "a" * 63, "p" * 63
    made = render(AppSpec(app, (replace(WEB, ptype=ptype),)), CONFIG)
    name = only(made, "Deployment")["metadata"]["name"]
    assert len(name) == 63
    assert only(made, "Deployment")["spec"]["template"]["spec"]["containers"][0]["name"] == name
    assert name != only(render(AppSpec(app, (replace(WEB, ptype="p" * 62),)), CONFIG), "Deployment")["metadata"]["name"]


def test_weakness_46_short_names_are_those_that_people_know() -> None:
    assert deployment(WEB)["metadata"]["name"] == "tidepool-web"


def test_weakness_47_replicas_are_spread_by_labels_that_pods_have() -> None:
    made = deployment(WEB)["spec"]["template"]
    terms = made["spec"]["topologySpreadConstraints"]
    assert [term["topologyKey"] for term in terms] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for term in terms:
        assert term["labelSelector"]["matchLabels"].items() <= made["metadata"]["labels"].items()
        assert term["whenUnsatisfiable"] == "ScheduleAnyway"


# --- secrets ---


def test_weakness_49_variables_that_look_alike_stay_apart() -> None:
    env = {"FOO_BAR": "1", "foo-bar": "2", "foo_bar": "3", "FOO-BAR": "4", "a.b": "5"}
    data = env_secret(replace(WEB, env=env))["data"]
    assert {name: base64.b64decode(data[key_of(name)]).decode() for name in env} == env
    assert set(data) == set(env)


@pytest.mark.parametrize("name", ["odd[name]", ".", "..", "..x", "a^b", "hex-41", "sha256-41", "X" * 254, "[" * 200])
def test_weakness_49_names_that_cannot_be_keys_are_encoded(name: str) -> None:
    key = key_of(name)
    assert key != name
    assert len(key) <= 253
    assert key_of(key) != key


def test_weakness_14_no_value_stands_in_a_pod() -> None:
    for entry in container(replace(WEB, env={"A": "1", "CONTAINER_IP": "mine"}))["env"]:
        assert set(entry) == {"name", "valueFrom"}
        assert "secretKeyRef" in entry["valueFrom"]


def test_an_app_learns_its_own_address() -> None:
    assert container(replace(WEB, env={}))["env"] == [
        {"name": "CONTAINER_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    ]


@pytest.mark.parametrize(
    ("image", "hostname", "host"),
    [
        ("quay.io/ann/x:1", "", "quay.io"),
        ("localhost/x", "", "localhost"),
        ("registry:5000/x", "", "registry:5000"),
        ("ann/x", "", DOCKER_HUB),
        ("x:1", "", DOCKER_HUB),
        ("docker.io/ann/x", "", DOCKER_HUB),
        ("quay.io/ann/x", "mirror.example.org", "mirror.example.org"),
    ],
)
def test_credentials_are_for_the_registry_of_the_image(image: str, hostname: str, host: str) -> None:
    credentials = {"username": "bot", "password": "p:w", **({"hostname": hostname} if hostname else {})}
    process = replace(WEB, image=image, registry=credentials)
    made = render(AppSpec(APP, (process,)), CONFIG)
    secret = next(item for item in made if item.get("type") == "kubernetes.io/dockerconfigjson")
    document = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    assert document == {"auths": {host: {"auth": base64.b64encode(b"bot:p:w").decode()}}}
    assert pod(process)["imagePullSecrets"] == [{"name": secret["metadata"]["name"]}]
    assert registry_host(image) in ("", host, "docker.io", "quay.io")


def test_without_credentials_of_its_own_an_app_has_those_of_the_platform() -> None:
    config = replace(CONFIG, registry=RegistryCredentials("r.example.org", "u", "p"))
    assert "imagePullSecrets" not in pod(WEB)
    assert (
        pod(replace(WEB, registry={"hostname": "x"}), config)["imagePullSecrets"]
        == pod(WEB, config)["imagePullSecrets"]
    )


def test_weakness_56_keys_of_a_bucket_stand_in_a_secret_alone() -> None:
    made = render(VOLUMES, CONFIG)
    secret = only(made, "Secret", "media-volume-credentials")
    assert base64.b64decode(secret["data"]["access_key"]).decode() == OSS_SECRET
    rest = json.dumps([item for item in made if item is not secret])
    assert OSS_SECRET not in rest
    assert "key-id" not in rest
    source = only(made, "PersistentVolume", _volume_name(made, "media"))["spec"]["csi"]
    assert source["nodePublishSecretRef"] == {"name": "media-volume-credentials", "namespace": APP}


# --- what an app may do ---


def test_weakness_53_no_pod_has_a_token() -> None:
    account = only(render(MINIMAL, CONFIG), "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    for spec in (pod(WEB), render_job(JOB, CONFIG)[-1]["spec"]["template"]["spec"]):
        assert spec["serviceAccountName"] == account["metadata"]["name"]
        assert spec["automountServiceAccountToken"] is False


def test_weakness_54_every_namespace_has_its_rules() -> None:
    kinds = [item["kind"] for item in render_foundation(APP, {"hard": {"pods": "3"}}, CAREFUL)]
    assert kinds == ["Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount"]
    labels = only(render(MINIMAL, CONFIG), "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    assert labels["pod-security.kubernetes.io/warn"] == "restricted"


def test_weakness_54_a_container_that_says_nothing_gets_what_the_default_plan_gives() -> None:
    limits = only(render(MINIMAL, CONFIG), "LimitRange")["spec"]["limits"][0]
    assert limits["default"] == {"cpu": "1", "ephemeral-storage": "4Gi", "memory": "1Gi"}
    assert limits["defaultRequest"] == {"cpu": "250m", "ephemeral-storage": "2Gi", "memory": "512Mi"}


def test_weakness_54_nothing_becomes_more_than_it_was_started_as() -> None:
    assert pod(WEB)["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert container(WEB)["securityContext"] == {"allowPrivilegeEscalation": False}
    strict = container(WEB, replace(CONFIG, pod_security_level="restricted"))["securityContext"]
    assert strict["runAsNonRoot"] is True
    assert strict["capabilities"] == {"drop": ["ALL"]}


def test_a_plan_may_allow_more() -> None:
    privileged = replace(CATALOG.default, container_security_context={"privileged": True})
    config = replace(CONFIG, catalog=Catalog([privileged.spec], [privileged]))
    assert container(WEB, config)["securityContext"] == {"privileged": True}


def test_other_apps_are_kept_out_and_everybody_else_is_not() -> None:
    policy = only(render(RICH, CAREFUL), "NetworkPolicy")["spec"]
    own, platform, *public = policy["ingress"][0]["from"]
    assert own == {"podSelector": {}}
    assert platform["namespaceSelector"]["matchExpressions"][0]["values"] == ["drycc", "traefik"]
    assert [peer["ipBlock"]["cidr"] for peer in public] == ["0.0.0.0/0", "::/0"]
    assert "10.0.0.0/8" in public[0]["ipBlock"]["except"]


# --- handlers ---


def test_what_must_listen_is_asked_every_second_from_the_start() -> None:
    assert container(WEB)["readinessProbe"] == {
        "tcpSocket": {"port": 5000},
        "periodSeconds": 1,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
    }
    assert "readinessProbe" not in container(replace(WEB, must_listen=False))
    assert "startupProbe" not in container(WEB)


def test_a_startup_probe_is_one_and_leaves_the_default_beside_it() -> None:
    startup = {"exec": {"command": ["true"]}, "failureThreshold": 30}
    made = container(replace(WEB, healthcheck={"startupProbe": startup}))
    assert made["startupProbe"] == startup
    assert "tcpSocket" in made["readinessProbe"]


def test_probes_of_a_spec_alone() -> None:
    process = replace(
        WEB,
        readiness=Probe("http", None, "/ready", (("X-A", "1"),), timeout=timedelta(milliseconds=300)),
        liveness=Probe("exec", command=("alive",), initial_delay=timedelta(seconds=4)),
    )
    made = container(process)
    assert made["readinessProbe"] == {
        "httpGet": {"path": "/ready", "port": 5000, "httpHeaders": [{"name": "X-A", "value": "1"}]},
        "periodSeconds": 10,
        "timeoutSeconds": 1,
        "failureThreshold": 3,
    }
    assert made["livenessProbe"]["exec"] == {"command": ["alive"]}
    assert made["livenessProbe"]["initialDelaySeconds"] == 4


def test_what_takes_requests_is_given_time_to_be_taken_out_of_the_routing() -> None:
    assert container(WEB)["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert container(replace(WEB, grace_period=timedelta(seconds=4)))["lifecycle"]["preStop"]["sleep"] == {"seconds": 2}
    assert "lifecycle" not in container(replace(WEB, grace_period=timedelta(0)))
    assert "lifecycle" not in container(WEB, replace(CONFIG, drain_delay=timedelta(0)))
    assert "lifecycle" not in container(replace(WEB, must_listen=False))


@pytest.mark.parametrize(
    "changes",
    [
        {"pre_stop": {"command": "sleep 8"}},
        {"pre_stop": {"exec": {"command": "sleep 8"}}},
        {"post_start": {"exec": {"command": ["a"]}, "sleep": {"seconds": 1}}},
        {"post_start": {"httpGet": {"path": "/"}}},
        {"healthcheck": {"readinessProbe": {"tcpSocket": {"port": 80}, "every": 3}}},
        {"healthcheck": {"livenessProbe": {"httpGet": {"port": 80, "scheme": "gopher"}}}},
    ],
)
def test_handlers_that_the_api_does_not_know_are_refused_before_they_get_there(changes: dict[str, Any]) -> None:
    process = replace(WEB, **changes)
    with pytest.raises(NotSupportedError, match="of web: could not validate"):
        check_handlers(process)
    with pytest.raises(NotSupportedError):
        render(AppSpec(APP, (process,)), CONFIG)


def test_a_refusal_repeats_no_command() -> None:
    with pytest.raises(NotSupportedError) as refused:
        check_handlers(replace(WEB, pre_stop={"exec": {"command": ["curl", "token-1"], "x": 1}}))
    assert "token-1" not in refused.value.detail


# --- volumes ---


def test_volumes_of_other_apps_of_that_name_are_others() -> None:
    nfs = VolumeSpec("c", "nfs", None, {"nfs": {"server": "s", "path": "/p"}})
    one = render(AppSpec("a-b", volumes=(nfs,)), CONFIG)
    other = render(AppSpec("a", volumes=(replace(nfs, name="b-c"),)), CONFIG)
    assert only(one, "PersistentVolume")["metadata"]["name"] != only(other, "PersistentVolume")["metadata"]["name"]


def test_a_claim_has_the_class_of_the_operator_or_none() -> None:
    csi = AppSpec(APP, volumes=(VolumeSpec("data", "csi", 5),))
    assert "storageClassName" not in only(render(csi, CONFIG), "PersistentVolumeClaim")["spec"]
    assert only(render(csi, CAREFUL), "PersistentVolumeClaim")["spec"]["storageClassName"] == "longhorn"


def test_one_volume_may_be_mounted_twice() -> None:
    process = replace(WEB, mounts=(Mount("data", "/a"), Mount("data", "/b")))
    assert [volume["name"] for volume in pod(process)["volumes"]] == ["data"]
    assert [mount["mountPath"] for mount in container(process)["volumeMounts"]] == ["/a", "/b"]


def test_the_pods_of_another_spec_are_new_ones() -> None:
    def template(process: ProcessSpec) -> object:
        return deployment(process)["spec"]["template"]

    assert template(replace(WEB, restart_token="again")) != template(WEB)
    assert template(replace(WEB, replicas=5)) == template(WEB)
    assert template(replace(WEB, start_deadline=timedelta(9))) == template(WEB)


def _volume_name(made: Iterable[Manifest], volume: str) -> str:
    name: str = only(made, "PersistentVolumeClaim", volume)["spec"]["volumeName"]
    return name
