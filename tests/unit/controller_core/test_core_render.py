"""Specs out of rows, verdicts out of observations."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from controller.domain.apps import App, AppSettings, Person
from controller.domain.builds import ptypes_of
from controller.domain.policy import Policy
from controller.domain.probes import liveness_of, readiness_of
from controller.domain.releases import (
    Build,
    Config,
    ConfigData,
    ConfigValue,
    Landing,
    ProcessTarget,
    Release,
    ReleaseBundle,
    Rollout,
    RolloutState,
    parse_version,
)
from controller.domain.render import AppState, deploy_budget, is_changed, render, render_process
from controller.domain.rollouts import (
    Broken,
    Settled,
    Waiting,
    judge,
    merge_targets,
    moving_ptypes,
    pause_before_retry,
    rollback_targets,
)
from controller.domain.spec import AppObservation, AppSpec, Failure, Probe, ProcessSpec, PtypeState, RouteSpec

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
POLICY = Policy(app_domain="apps.test")
CATALOG = POLICY.catalog


def bundle(version: int = 2, *, failed: bool = False, data: ConfigData | None = None, **build: Any) -> ReleaseBundle:
    facts = {
        "image": "workspace/shop:1",
        "stack": "python",
        "sha": "abc",
        "procfile": {"web": "./web", "worker": "./w"},
    }
    made = Build(uuid4(), "shop", "ana", NOW, NOW, **(facts | build))
    config = Config(uuid4(), "shop", "ana", NOW, NOW, data or ConfigData())
    release = Release(
        uuid4(), "shop", "ana", NOW, NOW, version, config.uuid, made.uuid, failed=failed, summary="ana did it"
    )
    return ReleaseBundle(release, config, made)


def state(*targets: ProcessTarget, bundles: list[ReleaseBundle], routable: bool = True) -> AppState:
    app = App(uuid4(), "shop", Person(1, "ana"), {}, 1, NOW, NOW)
    settings = AppSettings(uuid4(), "shop", "ana", NOW, NOW, routable=routable)
    return AppState(app, settings, targets, {made.release.version: made for made in bundles})


def target(ptype: str, replicas: int, release: int | None, token: str = "") -> ProcessTarget:
    return ProcessTarget(ptype, replicas, release, token, NOW)


def rollout(*ptypes: str, **facts: Any) -> Rollout:
    base: dict[str, Any] = {
        "uuid": UUID(int=1),
        "app": "shop",
        "version": 3,
        "state": RolloutState.ROLLING,
        "ptypes": ptypes,
        "restart_token": "",
        "previous": {},
        "step": 0,
        "progress": 0,
        "deadline_at": NOW + timedelta(seconds=120),
        "failure": None,
        "created": NOW,
    }
    return Rollout(**(base | facts))


class TestRender:
    def test_an_app_with_types_of_several_releases(self) -> None:
        old, new = bundle(2), bundle(3)
        rows = (target("worker", 2, 2), target("web", 1, 3, "tok"), target("later", 1, None), target("lost", 1, 9))
        spec = render(state(*rows, bundles=[old, new]), POLICY)
        assert [(p.ptype, p.replicas, p.release, p.restart_token) for p in spec.processes] == [
            ("web", 1, 3, "tok"),
            ("worker", 2, 2, ""),
        ]
        assert spec.routes == (RouteSpec("shop.apps.test", "web"),)
        assert [process.must_listen for process in spec.processes] == [True, False]

    def test_a_long_summary_is_cut_for_processes(self) -> None:
        made = bundle(7)
        assert made.build is not None
        long = replace(made, release=replace(made.release, summary="ö" * 100_000))
        env = render_process("shop", long, made.build, "web", POLICY).env
        assert env["WORKFLOW_RELEASE_SUMMARY"] == "ö" * (16 * 1024)

    def test_routes_need_a_routable_app_a_web_and_a_domain(self) -> None:
        made = bundle(2)
        web = target("web", 1, 2)
        assert render(state(web, bundles=[made], routable=False), POLICY).routes == ()
        assert render(state(target("worker", 1, 2), bundles=[made]), POLICY).routes == ()
        assert render(state(web, bundles=[made]), Policy()).routes == ()

    def test_one_process(self) -> None:
        data = ConfigData(
            values=(ConfigValue("A", "1", group="global"), ConfigValue("PORT", "8080", ptype="web")),
            limits={"web": "std1.large.c1m2"},
            termination_grace_period={"web": "45"},
            healthcheck={"web": {"readinessProbe": {"httpGet": {"port": 8080, "path": "/up"}, "periodSeconds": 3}}},
        )
        made = bundle(7, data=data)
        assert made.build is not None
        process = render_process("shop", made, made.build, "web", POLICY)
        assert process.env == {
            "A": "1",
            "PORT": "8080",
            "DRYCC_APP": "shop",
            "WORKFLOW_RELEASE": "v7",
            "WORKFLOW_RELEASE_SUMMARY": "ana did it",
            "WORKFLOW_RELEASE_CREATED_AT": "2026-01-05T10:00:00Z",
            "SOURCE_VERSION": "abc",
        }
        assert (process.shell, process.port, process.memory_bytes) == ("./web", 8080, 2 * 1024**3)
        assert process.grace_period == timedelta(seconds=45)
        assert process.readiness == Probe("http", 8080, "/up", period=timedelta(seconds=3))
        worker = render_process("shop", made, made.build, "worker", POLICY)
        assert (worker.memory_bytes, worker.grace_period, worker.env["PORT"]) == (
            1024**3,
            timedelta(seconds=30),
            "5000",
        )

    def test_a_users_variable_wins_over_the_platforms(self) -> None:
        data = ConfigData(values=(ConfigValue("DRYCC_APP", "mine", group="global"),))
        made = bundle(2, data=data)
        assert made.build is not None
        assert render_process("shop", made, made.build, "web", POLICY).env["DRYCC_APP"] == "mine"

    def test_the_budget_counts_probes_and_the_apps_timeout(self) -> None:
        probe = {"tcpSocket": {"port": 1}, "initialDelaySeconds": 50, "periodSeconds": 10, "timeoutSeconds": 5}
        data = ConfigData(
            values=(ConfigValue("DRYCC_DEPLOY_TIMEOUT", "300", ptype="worker"),),
            healthcheck={"web": {"livenessProbe": probe}},
        )
        made = bundle(2, data=data)
        assert made.build is not None
        budgets = {
            ptype: deploy_budget(render_process("shop", made, made.build, ptype, POLICY), POLICY).total_seconds()
            for ptype in ("web", "worker")
        }
        assert budgets == {"web": 120 + 50 + 45, "worker": 300}

    def test_a_startup_probe_gives_time(self) -> None:
        startup = {"exec": {"command": ["true"]}, "periodSeconds": 9, "timeoutSeconds": 1, "failureThreshold": 10}
        ready = {"tcpSocket": {"port": 80}, "periodSeconds": 4, "timeoutSeconds": 1, "failureThreshold": 2}
        probe = readiness_of({"startupProbe": startup, "readinessProbe": ready})
        assert probe is not None
        assert (probe.kind, probe.failure_threshold) == ("tcp", 22)
        assert readiness_of({"startupProbe": startup}) == Probe(
            "exec", command=("true",), period=timedelta(seconds=9), failure_threshold=10
        )
        live = liveness_of({"startupProbe": startup, "livenessProbe": ready})
        assert live is not None
        assert live.initial_delay == timedelta(seconds=100)
        assert readiness_of({"readinessProbe": {}}) is liveness_of({}) is None


class TestChanges:
    def test_only_what_concerns_the_type_counts(self) -> None:
        before = bundle(2)
        assert before.build is not None
        others = ConfigData(values=(ConfigValue("A", "1", ptype="worker"),), limits={"web": CATALOG.default.id})
        after = replace(bundle(3, data=others), build=before.build)
        assert [ptype for ptype in ("web", "worker") if is_changed(before, after, ptype, CATALOG)] == ["worker"]
        assert is_changed(before, bundle(3, image="workspace/shop:2"), "web", CATALOG)
        assert not is_changed(before, bundle(3, sha="other"), "web", CATALOG)

    def test_what_moves(self) -> None:
        same, new = bundle(2), bundle(3)
        running: dict[str, ReleaseBundle | None] = {"web": same, "worker": bundle(2, failed=True), "clock": None}
        wanted = ("web", "worker", "clock", "fresh")
        args: dict[str, Any] = {"running": running, "carried": (), "catalog": CATALOG}
        assert moving_ptypes(new, wanted, **args, everything=False) == ("worker", "clock", "fresh")
        assert moving_ptypes(new, wanted, **args, everything=True) == wanted
        carried: dict[str, Any] = {"running": running, "carried": ("web", "gone"), "catalog": CATALOG}
        assert moving_ptypes(new, wanted, **carried, everything=False) == wanted

    def test_counts_and_types_merge(self) -> None:
        rows = [target("web", 0, 2, "t"), target("old", 0, 2), target("busy", 3, 2)]
        merged = merge_targets(rows, rollout("web", "clock"), ("web", "clock", "idle"), NOW)
        assert {t.ptype: (t.replicas, t.release, t.restart_token) for t in merged.values()} == {
            "web": (0, 3, "t"),
            "busy": (3, 2, ""),
            "clock": (0, 3, ""),
            "idle": (0, None, ""),
        }
        fresh = merge_targets([], rollout("web", restart_token="new"), ("web",), NOW)
        assert (fresh["web"].replicas, fresh["web"].restart_token) == (1, "new")


class TestVerdicts:
    spec = AppSpec("shop", (ProcessSpec("web", 2, 3, "i", "s"), ProcessSpec("worker", 1, 3, "i", "s")))

    def seen(self, ptype: str, **facts: Any) -> PtypeState:
        process = self.spec.process(ptype)
        assert process is not None
        base: dict[str, Any] = {
            "ptype": ptype,
            "fingerprint": process.fingerprint,
            "ready": 0,
            "updated": 0,
            "desired": process.replicas,
            "settled": False,
        }
        return PtypeState(**(base | facts))

    def verdict(self, *states: PtypeState, now: datetime = NOW, **facts: Any) -> object:
        return judge(rollout("web", "worker", **facts), self.spec, AppObservation("shop", states), now=now)

    def test_settled_when_every_type_is(self) -> None:
        web, worker = self.seen("web", settled=True), self.seen("worker", settled=True)
        assert self.verdict(web, worker) == Settled()
        assert self.verdict(web, self.seen("worker", ready=0)) == Waiting(0)
        assert self.verdict(web, replace(worker, fingerprint="of the old spec")) == Waiting(0)
        assert self.verdict(web) == Waiting(0)

    def test_types_that_the_spec_does_not_have_are_nothing_to_wait_for(self) -> None:
        assert judge(rollout("gone"), self.spec, AppObservation("shop"), now=NOW) == Settled()

    def test_a_failure_of_the_current_spec_ends_it(self) -> None:
        failure = Failure("process-crashed", "web", "exit 1")
        assert self.verdict(self.seen("web", failure=failure)) == Broken(failure)
        old = self.seen("web", failure=failure, fingerprint="old")
        assert self.verdict(old) == Waiting(0)

    def test_progress_counts_new_instances_that_are_ready(self) -> None:
        assert self.verdict(self.seen("web", ready=2, updated=1)) == Waiting(1)

    @given(st.integers(min_value=0, max_value=10_000))
    def test_a_timeout_is_never_success(self, late: int) -> None:
        verdict = self.verdict(self.seen("web", settled=True), now=NOW + timedelta(seconds=120 + late))
        assert isinstance(verdict, Broken)
        assert (verdict.failure.code, verdict.failure.ptype) == ("deadline-exceeded", "worker")

    def test_but_what_settled_at_the_deadline_has_settled(self) -> None:
        web, worker = self.seen("web", settled=True), self.seen("worker", settled=True)
        assert self.verdict(web, worker, now=NOW + timedelta(days=1)) == Settled()


class TestRollback:
    def test_each_type_goes_back_to_what_it_ran(self) -> None:
        move = rollout("web", "worker", "fresh", previous={"web": Landing(2, "t"), "worker": Landing(1, "")})
        rows = [target("web", 1, 3), target("worker", 1, 3), target("fresh", 1, 3), target("other", 1, 2)]
        assert rollback_targets(rows, move, good={2}, fallback={"worker": 2}) == {
            "web": Landing(2, "t"),
            "worker": Landing(2, ""),
            "fresh": None,
        }
        assert rollback_targets(rows, move, good=(), fallback={}) is None
        assert rollback_targets([target("web", 1, 2)], move, good={2}, fallback={}) is None


def test_fingerprints_ignore_counts_and_nothing_else() -> None:
    process = ProcessSpec("web", 1, 3, "i", "s", env={"A": "1", "B": "2"})
    assert replace(process, replicas=9).fingerprint == process.fingerprint
    assert replace(process, env={"B": "2", "A": "1"}).fingerprint == process.fingerprint
    for other in (
        replace(process, env={"A": "2", "B": "2"}),
        replace(process, restart_token="x"),
        replace(process, readiness=Probe("tcp")),
        replace(process, grace_period=timedelta(seconds=1)),
    ):
        assert other.fingerprint != process.fingerprint
    assert "'A'" not in repr(process)


def test_versions() -> None:
    assert [parse_version(text) for text in ("v3", "3", "abc", "", None, "v", "-1", "9" * 30)] == [3, 3] + [None] * 6


def test_pauses_grow_to_a_minute() -> None:
    assert [pause_before_retry(n).total_seconds() for n in (1, 2, 3, 6, 7, 50)] == [1, 2, 4, 32, 60, 60]


def test_types_of_a_build_without_any_are_web() -> None:
    assert ptypes_of(bundle(2, procfile={}).build) == ("web",)
