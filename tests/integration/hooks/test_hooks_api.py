"""The API of the hooks service: who may, what is shown, sending again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from integration.hooks.actors import Issuer, Receiver, Start
from shared.db import uuid7
from support import FakeClock, eventually


async def test_requests_without_a_valid_token_are_refused(start: Start, issuer: Issuer) -> None:
    async with start() as service:
        for header in (
            "",
            "Basic abc",
            "Bearer",
            "Bearer nonsense",
            f"Bearer {issuer.token('hooks:read', audience='x')}",
        ):
            answer = await service.client.get("/deliveries", headers={"Authorization": header})
            assert answer.status_code == 401, header
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [("GET", "/deliveries", "hooks:write"), ("POST", f"/deliveries/{UUID(int=1)}/redeliver", "hooks:read")],
)
async def test_each_request_needs_its_scope(start: Start, issuer: Issuer, method: str, path: str, scope: str) -> None:
    async with start() as service:
        headers = {"Authorization": f"Bearer {issuer.token(scope)}"}
        answer = await service.client.request(method, path, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["code"] == "forbidden"


async def test_deliveries_are_listed_by_app_newest_first_and_in_pages(start: Start, receiver: Receiver) -> None:
    async with start(urls=[receiver.url]) as service:
        for release in (1, 2, 3):
            await service.release(release=release)
        await service.release(app="blog", release=1)
        first = (await service.client.get("/deliveries", params={"app": "shop", "limit": 2})).json()
        assert [each["release"] for each in first["deliveries"]] == ["v3", "v2"]
        rest = await service.client.get("/deliveries", params={"app": "shop", "limit": 2, "before": first["next"]})
        assert [each["release"] for each in rest.json()["deliveries"]] == ["v1"]
        assert rest.json()["next"] is None
        assert {each["app"] for each in await service.deliveries()} == {"shop", "blog"}


async def test_a_listed_url_hides_path_and_query(start: Start, receiver: Receiver) -> None:
    async with start(urls=[f"{receiver.url}?token=verysecret"]) as service:
        await service.release()
        answer = await service.client.get("/deliveries")
        assert answer.json()["deliveries"][0]["url"] == f"http://127.0.0.1:{receiver.port}/..."
        assert "verysecret" not in answer.text


async def test_a_failed_delivery_can_be_sent_again(start: Start, receiver: Receiver, clock: FakeClock) -> None:
    receiver.statuses.append(500)
    async with start(urls=[receiver.url], give_up_after_seconds=1) as service:
        await service.release()

        async def failed() -> list[dict[str, object]]:
            return await service.deliveries(state="failed")

        found = await eventually(failed)
        delivery = found[0]
        clock.advance(timedelta(hours=3))
        answer = await service.client.post(f"/deliveries/{delivery['id']}/redeliver")
        assert answer.status_code == 202
        assert answer.json()["state"] == "pending"
        assert answer.json()["attempts"] == 0
        await eventually(lambda: len(receiver.received) == 2)

        async def delivered() -> list[dict[str, object]]:
            return await service.deliveries(state="delivered")

        found = await eventually(delivered)
        assert found[0]["id"] == delivery["id"]


async def test_a_delivery_in_flight_cannot_be_sent_again(start: Start, receiver: Receiver) -> None:
    receiver.hold = asyncio.Event()
    async with start(urls=[receiver.url]) as service:
        await service.release()
        await eventually(lambda: receiver.received)
        (delivery,) = await service.deliveries()
        answer = await service.client.post(f"/deliveries/{delivery['id']}/redeliver")
        assert answer.status_code == 409
        assert answer.json()["code"] == "delivery-in-flight"
        assert answer.headers["retry-after"] == "60"
        receiver.hold.set()


async def test_an_unknown_delivery_is_not_found(start: Start) -> None:
    async with start() as service:
        answer = await service.client.post(f"/deliveries/{uuid7()}/redeliver")
        assert answer.status_code == 404
        assert answer.json()["code"] == "delivery-not-found"


async def test_health_readiness_and_metrics_need_no_token(start: Start, receiver: Receiver) -> None:
    async with start(urls=[receiver.url]) as service:
        await service.release()
        await eventually(lambda: receiver.received)
        service.client.headers.pop("Authorization")
        assert (await service.client.get("/healthz")).text == "OK"
        assert (await service.client.get("/readiness")).status_code == 200

        async def counted() -> bool:
            metrics = (await service.client.get("/metrics")).text
            return 'workflow_hooks_attempts_total{outcome="delivered"}' in metrics

        await eventually(counted)
        await service.bus.close()
        answer = await service.client.get("/readiness")
        assert answer.status_code == 503
        assert answer.json()["failing"] == ["bus"]
