"""What holds for every process, app and one-off that can be asked for."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from controller.domain.names import name_problem, ptype_problem
from controller.domain.spec import AppSpec, Autoscale, JobSpec, ProcessSpec
from controller.domain.spec_storage import Mount, VolumeSpec
from controller.engine.kubernetes.manifests import Manifest, render, render_job
from controller.engine.kubernetes.manifests.secrets import key_of
from support.controller_strategies import laws
from support.kubernetes_specs import CAREFUL, CONFIG

_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE: Final = re.compile(r"([a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)?")
_SECRET_KEY: Final = re.compile(r"(?!\.\.)[-._a-zA-Z0-9]{1,253}")
_LABELS: Final = frozenset(("Namespace", "Deployment", "HorizontalPodAutoscaler", "Job", "PersistentVolumeClaim"))
"""Kinds whose names become labels or parts of host names."""
_MARK: Final = "s3cr3t."
"""In every value of a variable, so that it can be found wherever it gets."""

_words: Final = st.text("abz09", min_size=1, max_size=21)
apps: Final = st.builds(
    lambda first, parts: f"{first}{'-'.join(parts)}"[:63].rstrip("-"),
    st.sampled_from("az"),
    st.lists(_words, min_size=1, max_size=3),
)
ptypes: Final = st.lists(_words, min_size=1, max_size=3).map("-".join).filter(lambda name: ptype_problem(name) is None)
volumes: Final = ptypes.filter(lambda name: name_problem(name) is None)
keys: Final = st.text("aZ_[`.-0", min_size=1, max_size=6) | st.sampled_from(("hex-41", "..", "X" * 254, "[" * 200))
values: Final = st.text(max_size=8).map(lambda text: _MARK + text)
processes: Final = st.builds(
    ProcessSpec,
    ptype=ptypes,
    replicas=st.integers(0, 1000),
    release=st.integers(1, 10**9),
    image=st.just("quay.io/ann/tidepool:1"),
    stack=st.just("container"),
    shell=st.none() | st.just("run $$ $(now)"),
    env=st.dictionaries(keys, values, max_size=5),
    port=st.none() | st.integers(1, 65535),
    grace_period=st.timedeltas(timedelta(0), timedelta(days=100)),
    must_listen=st.booleans(),
    restart_token=st.text(max_size=3),
    plan=st.sampled_from(("", "small", "gpu", "gone")),
    mounts=st.lists(st.builds(Mount, volumes, st.just("/data")), max_size=2).map(tuple),
    registry=st.none() | st.fixed_dictionaries({"username": values, "password": values}),
)
specs: Final = st.builds(
    AppSpec,
    app=apps,
    processes=st.lists(processes, max_size=3, unique_by=lambda process: process.ptype).map(tuple),
    volumes=st.lists(
        st.builds(VolumeSpec, volumes, st.just("csi"), st.none() | st.integers(1, 99999)),
        max_size=2,
        unique_by=lambda volume: volume.name,
    ).map(tuple),
)


@laws
@given(specs, st.data())
def test_every_app_has_names_within_limits_and_keeps_its_values_to_itself(spec: AppSpec, data: st.DataObject) -> None:
    scaled = data.draw(st.sets(st.sampled_from([process.ptype for process in spec.processes] or ["web"])))
    rules = tuple(Autoscale(ptype, 1, 3, 50) for ptype in sorted(scaled))
    whole = AppSpec(spec.app, spec.processes, volumes=spec.volumes, autoscale=rules)
    for config in (CONFIG, CAREFUL):
        check(render(whole, config))


@laws
@given(apps, processes)
def test_so_has_every_one_off(app: str, process: ProcessSpec) -> None:
    check(render_job(JobSpec(app, f"{app}-run-abcde", process, timedelta(hours=1)), CONFIG))


@laws
@given(st.sets(keys, max_size=8))
def test_no_two_variables_share_a_key(variables: set[str]) -> None:
    found = {key_of(variable) for variable in variables}
    assert len(found) == len(variables)
    assert all(_SECRET_KEY.fullmatch(key) and key != "." for key in found)


@laws
@given(st.lists(specs, min_size=2, max_size=3, unique_by=lambda spec: spec.app))
def test_weakness_37_nothing_has_the_labels_of_another_app(found: list[AppSpec]) -> None:
    for spec in [*found, *reversed(found)]:
        for manifest in render(spec, CAREFUL):
            assert manifest["metadata"]["labels"]["app"] == spec.app
            assert manifest["metadata"].get("namespace", spec.app) == spec.app


def check(made: tuple[Manifest, ...]) -> None:
    """Names and labels are such that the API takes them; values are in Secrets, and each reference finds its Secret."""
    secrets = {item["metadata"]["name"]: item for item in made if item["kind"] == "Secret"}
    seen = set()
    for item in made:
        name = item["metadata"]["name"]
        seen.add((item["kind"], name))
        assert (_DNS_LABEL if item["kind"] in _LABELS else _DNS_NAME).fullmatch(name), name
        for labels in _all(item, "labels"):
            assert all(_LABEL_VALUE.fullmatch(value) for value in labels.values()), labels
        for containers in _all(item, "containers"):
            assert all(_DNS_LABEL.fullmatch(container["name"]) for container in containers)
        for reference in _all(item, "secretKeyRef"):
            assert reference["key"] in secrets[reference["name"]]["data"]
        for reference in _all(item, "imagePullSecrets"):
            assert reference[0]["name"] in secrets
        text = json.dumps(item, ensure_ascii=False)
        assert _MARK not in text
        if item["kind"] != "Secret":
            assert base64.b64encode(_MARK.encode())[:8].decode() not in text
    assert len(seen) == len(made)


def _all(value: Any, key: str) -> Iterator[Any]:
    """Everything that stands below `key` anywhere in the value."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for item in value.values():
            yield from _all(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _all(item, key)
