"""From a created release to the request at the receiver, through everything that can go wrong on the way."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from datetime import timedelta
from typing import Any

from integration.hooks.actors import Receiver, Service, Start, as_time_goes
from support import FakeClock, eventually


async def settled(service: Service, clock: FakeClock | None = None, **expected: Any) -> dict[str, Any]:
    """The only delivery that there is, once it looks as expected; time passes meanwhile when there is a clock."""

    async def look() -> dict[str, Any]:
        (delivery,) = await service.deliveries()
        assert {key: delivery[key] for key in expected} == expected
        return delivery

    if clock is not None:
        return await as_time_goes(clock, timedelta(seconds=10), look)
    return await eventually(look)


async def test_a_release_becomes_one_signed_request(start: Start, receiver: Receiver, clock: FakeClock) -> None:
    async with start(urls=[receiver.url], secret="my_secret_key") as service:
        await service.release()
        await settled(service, state="delivered", attempts=1, response_status=200, last_error=None)
    (request,) = receiver.received
    url = f"{receiver.url}?app=shop&release=v4&release_summary=mina+deployed+35b3726&sha=35b3726&user=mina"
    sent_at = int(clock.now().timestamp())
    assert (request.method, request.url, request.body) == ("POST", url, b"")
    assert request.headers["authorization"] == hmac.new(b"my_secret_key", url.encode(), hashlib.sha1).hexdigest()
    signature = hmac.new(b"my_secret_key", f"{sent_at}.{url}".encode(), hashlib.sha256).hexdigest()
    assert request.headers["workflow-signature"] == f"t={sent_at},v1={signature}"


async def test_the_request_is_what_was_signed_whatever_the_summary_holds(start: Start, receiver: Receiver) -> None:
    sha = "é ü+&=%2F~\"<>'`{|}^\\"
    async with start(urls=[f"{receiver.url}?room=a%20b"], secret="k") as service:
        await service.release(sha=sha)
        await settled(service, state="delivered")
    (request,) = receiver.received
    assert request.headers["authorization"] == hmac.new(b"k", request.url.encode(), hashlib.sha1).hexdigest()
    assert request.url.startswith(f"{receiver.url}?room=a%20b&app=shop&release=v4&")


async def test_without_a_secret_hooks_go_out_unsigned(start: Start, receiver: Receiver) -> None:
    async with start(urls=[receiver.url]) as service:
        await service.release(release=1, sha="")
        await settled(service, state="delivered", release="v1")
    (request,) = receiver.received
    assert "authorization" not in request.headers
    assert "workflow-signature" not in request.headers
    assert "&sha=&user=mina" in request.url


async def test_every_receiver_gets_a_delivery_of_its_own(start: Start, receiver: Receiver) -> None:
    async with start(urls=[f"{receiver.url}?to=a", f"{receiver.url}?to=b"]) as service:
        await service.release()
        await eventually(lambda: len(receiver.received) == 2)
        assert len({each["target"] for each in await service.deliveries()}) == 2


async def test_without_urls_nothing_is_stored(start: Start) -> None:
    async with start() as service:
        await service.release()
        assert await service.deliveries() == []


async def test_an_event_that_comes_twice_is_sent_once(start: Start, receiver: Receiver) -> None:
    async with start(urls=[receiver.url]) as service:
        envelope = await service.release()
        await asyncio.gather(*(service.bus.publish(envelope) for _ in range(5)))
        await settled(service, state="delivered")
        await service.release(release=5)
        await eventually(lambda: len(receiver.received) == 2)
        assert len(await service.deliveries()) == 2


async def test_a_receiver_that_is_down_gets_its_hook_when_it_is_up(
    start: Start, receiver: Receiver, clock: FakeClock
) -> None:
    await receiver.stop()
    async with start(urls=[receiver.url]) as service:
        await service.release()
        await settled(service, state="pending", attempts=1, last_error="could not connect", response_status=None)
        await receiver.start()
        await settled(service, clock, state="delivered", attempts=2, last_error=None)
    assert len(receiver.received) == 1


async def test_an_error_is_tried_again_under_the_same_delivery_id(
    start: Start, receiver: Receiver, clock: FakeClock
) -> None:
    receiver.statuses.extend([500, 200])
    async with start(urls=[receiver.url]) as service:
        await service.release()
        delivery = await settled(service, state="pending", attempts=1, last_error="answered 500", response_status=500)
        await settled(service, clock, state="delivered", attempts=2, response_status=200)
    assert [each.headers["workflow-delivery"] for each in receiver.received] == [delivery["id"]] * 2


async def test_a_delivery_fails_when_its_time_is_over(start: Start, receiver: Receiver, clock: FakeClock) -> None:
    receiver.statuses.extend([503] * 100)
    async with start(urls=[receiver.url], give_up_after_seconds=7200) as service:
        await service.release()
        await settled(service, attempts=1, state="pending")

        async def failed() -> list[dict[str, Any]]:
            return await service.deliveries(state="failed")

        (delivery,) = await as_time_goes(clock, timedelta(minutes=5), failed)
    assert (delivery["last_error"], delivery["next_attempt_at"]) == ("answered 503", None)
    assert len(receiver.received) == delivery["attempts"] > 1


async def test_a_redirect_is_not_followed(start: Start, receiver: Receiver) -> None:
    receiver.statuses.append(302)
    async with start(urls=[receiver.url]) as service:
        await service.release()
        error = "answered 302: redirects are not followed, configure the final URL"
        await settled(service, state="pending", last_error=error)
    assert len(receiver.received) == 1


async def test_a_receiver_that_never_answers_does_not_hold_up_the_others(start: Start, receiver: Receiver) -> None:
    released = asyncio.Event()
    silent = Receiver(hold=released)
    await silent.start()
    async with start(urls=[silent.url, receiver.url], timeout_seconds=0.3) as service:
        await service.release()
        await eventually(lambda: receiver.received)

        async def given_up() -> bool:
            found = {each["last_error"] for each in await service.deliveries()}
            return found == {None, "did not answer in time"}

        await eventually(given_up)
    released.set()
    await silent.stop()


async def test_a_stop_in_the_middle_gives_the_delivery_back(start: Start, receiver: Receiver) -> None:
    receiver.hold = asyncio.Event()
    async with start(urls=[receiver.url]) as service:
        await service.release()
        await eventually(lambda: receiver.received)
    receiver.hold.set()
    async with start(urls=[receiver.url]) as service:
        await settled(service, state="delivered", attempts=2)
    assert len(receiver.received) == 2


async def test_a_url_that_is_no_longer_configured_ends_its_deliveries(start: Start, receiver: Receiver) -> None:
    await receiver.stop()
    async with start(urls=[receiver.url]) as service:
        await service.release()
        await settled(service, state="pending", attempts=1)
    async with start(urls=[]) as service:
        (delivery,) = await service.deliveries()
        again = await service.client.post(f"/deliveries/{delivery['id']}/redeliver")
        assert again.status_code == 409
        assert again.json()["code"] == "target-gone"


async def test_services_that_share_a_database_send_each_hook_once(start: Start, receiver: Receiver) -> None:
    async with start(urls=[receiver.url]) as one, start(urls=[receiver.url]):
        await asyncio.gather(*(one.release(app=f"app{number}") for number in range(40)))
        await eventually(lambda: len(receiver.received) >= 40)

        async def all_done() -> bool:
            return len(await one.deliveries(state="delivered", limit=100)) == 40

        await eventually(all_done)
    assert len(receiver.received) == 40
