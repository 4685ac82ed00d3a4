"""The hooks service as a process of its own in a cluster: events come from RabbitMQ."""

from __future__ import annotations

import httpx

from hooks.main import create_app
from hooks.settings import Settings
from integration.hooks.actors import ISSUER, Issuer, Receiver
from shared.bus import connect_bus
from shared.events import Envelope, ReleaseCreated
from shared.settings import load_settings
from support import client_for, eventually


def _client_token(issuer: Issuer) -> dict[str, str]:
    return {"Authorization": f"Bearer {issuer.token('hooks:read')}"}


async def test_an_event_from_the_broker_becomes_one_request(
    rabbitmq_url: str, database_url: str, issuer: Issuer, receiver: Receiver
) -> None:
    settings = load_settings(
        Settings, database_url=database_url, bus_url=rabbitmq_url, passport_url=issuer.url, issuer=ISSUER,
        urls=[receiver.url],
    )  # fmt: skip
    event = ReleaseCreated(app="shop", version=4, sha="35b3726", actor="mina", summary="mina deployed 35b3726")
    envelope = Envelope.wrap(event, source="/services/controller")
    controller = connect_bus(rabbitmq_url)
    async with client_for(create_app(settings)) as client:
        assert (await client.get("/readiness")).status_code == 200
        await controller.publish(envelope)
        await controller.publish(envelope)
        await eventually(lambda: receiver.received)

        async def delivered() -> bool:
            answer: httpx.Response = await client.get("/deliveries", headers=_client_token(issuer))
            return [each["state"] for each in answer.json()["deliveries"]] == ["delivered"]

        await eventually(delivered)
    await controller.close()
    assert len(receiver.received) == 1
