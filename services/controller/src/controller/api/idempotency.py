"""`Idempotency-Key` on POST: a class of routes that answers a repeated request as it was answered the first time.

The answer is stored in the transaction of the effect, so that neither is there without the other. Refusals are not
kept: the transaction is rolled back with them, and the request may be tried again.
"""

from __future__ import annotations

from typing import Final

from fastapi import Request
from starlette.responses import Response

from controller.api.body import is_json, read_raw
from controller.api.deps import context_of, find_caller, has_builder_key, know_owner, use_work
from controller.api.units import Handler, UnitRoute, is_done_in_one_transaction
from controller.context import Context
from controller.domain.idempotency import HEADER, Answer, Claim, StillRunningError, check_key, digest_of
from controller.services.idempotency import Answers
from controller.uow import Uow

REPLAYED: Final = "Idempotent-Replayed"


class IdempotentRoute(UnitRoute):
    """Routes that take the key of callers that we know; anonymous ones have none.

    Endpoints should do all of their work in `deps.Work`. Of one that does not (it waits for somebody else between
    transactions) the answer is stored after the effect: a crash in between leaves the effect without the answer.
    """

    async def know_first(self, request: Request) -> None:
        """Find out what the endpoint will ask for on another connection: before the transaction has taken one."""
        await know_owner(request)

    def get_route_handler(self) -> Handler:
        """The handler of `UnitRoute`, behind a look for the key."""
        handle = super().get_route_handler()
        once = _in_one_transaction if is_done_in_one_transaction(self.dependant) else _in_several

        async def handle_once(request: Request) -> Response:
            key = request.headers.get(HEADER)
            if key is None or request.method != "POST" or not is_json(request):
                return await handle(request)
            key = check_key(key)
            caller = await _name_of_caller(request)
            if caller is None:
                return await handle(request)  # which refuses them
            digest = digest_of(method=request.method, target=_target(request), body=await read_raw(request))
            await self.know_first(request)
            return await once(request, Claim(caller, key, digest), handle)

        return handle_once


async def _in_one_transaction(request: Request, claim: Claim, handle: Handler) -> Response:
    ctx = context_of(request)
    async with ctx.unit_of_work() as uow:
        answers = _answers(ctx, uow)
        known = await answers.begin(claim)
        if known is not None:
            return _replay(known)
        use_work(request, uow)
        response = await handle(request)
        if response.status_code < 400:
            await answers.keep(claim, _answer_of(response))
    return response


async def _in_several(request: Request, claim: Claim, handle: Handler) -> Response:
    ctx = context_of(request)
    async with ctx.database.try_lock(claim.lock) as mine:
        if not mine:
            raise StillRunningError
        async with ctx.unit_of_work() as uow:
            known = await _answers(ctx, uow).find(claim)
        if known is not None:
            return _replay(known)
        response = await handle(request)
        if response.status_code < 400:
            async with ctx.unit_of_work() as uow:
                await _answers(ctx, uow).keep(claim, _answer_of(response))
    return response


def _answers(ctx: Context, uow: Uow) -> Answers:
    return Answers(uow, retention=ctx.settings.idempotency_retention)


async def _name_of_caller(request: Request) -> str | None:
    """Whose keys count: those of one caller mean nothing to another."""
    caller = await find_caller(request)
    if caller is not None:
        return f"user:{caller.account.id}" if caller.account is not None else f"service:{caller.service}"
    return "builder" if has_builder_key(request, context_of(request)) else None


def _target(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}"


def _answer_of(response: Response) -> Answer:
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers)
    return Answer(response.status_code, headers, bytes(response.body))


def _replay(answer: Answer) -> Response:
    response = Response(status_code=answer.status)
    response.body = answer.body
    response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    response.headers[REPLAYED] = "true"
    return response
