"""What builders ask: whose key that is, what they may push to, how to build it, and that a build is done."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from controller.api import present
from controller.api.body import Body, read_object
from controller.api.compat import HookBlockedError, HookForbiddenError
from controller.api.deps import Builder, Ctx, Work, context_of, know_owner_of
from controller.api.documents_accounts import HookKeys, KeptBuilds, KeyOwner, PushedBuild, PushRequest, PushResult
from controller.api.documents_releases import ConfigDocument
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.domain.accounts import Account
from controller.domain.apps import App
from controller.domain.builds import check_build
from controller.domain.errors import AppNotFoundError
from controller.domain.fields import FieldChecker
from controller.services.access import Access, Action, BlockedError
from controller.services.accounts import Accounts
from controller.services.apps import Apps
from controller.services.builds import Builds
from controller.services.configs import Configs
from controller.services.grants import Grants
from controller.services.keys import Keys
from controller.uow import Uow
from shared.errors import ForbiddenError, NotFoundError


async def _know_owner(request: Request, ctx: Ctx) -> None:
    """Before the transaction begins, and once per request."""
    if ctx.manager is None or hasattr(request.state, "knows_owner"):
        return
    name = (await read_object(request)).get("receive_repo")
    if isinstance(name, str):
        await know_owner_of(ctx, name)
    request.state.knows_owner = True


class PushRoute(IdempotentRoute):
    """Routes whose body names the app."""

    async def know_first(self, request: Request) -> None:
        """See `IdempotentRoute`."""
        await _know_owner(request, context_of(request))


KnownPush = Depends(_know_owner)
router = APIRouter(prefix="/v2/hooks", dependencies=[Builder], route_class=PushRoute)


@router.get("/key/{fingerprint:rest}", **doc(KeyOwner, guard="builder"))
async def find_key(fingerprint: str, uow: Work) -> Response:
    """Whose key has that fingerprint (`SHA256:...` or MD5 in colon form) and what they may push to."""
    owner = await Keys(uow).owner_of(fingerprint)
    return JSONResponse({"username": owner.username, "apps": await Access(uow).pushable(owner)})


@router.get("/keys/{app_id:app}", operation_id="list_keys_of_app", **doc(HookKeys, guard="builder"))
async def list_keys(app_id: str, uow: Work) -> Response:
    """The keys of the app's owner and of everybody who was granted to view it."""
    app = await Apps(uow).get(app_id)
    viewers = {grant.user_id for grant in await Grants(uow).list(app_id) if "view" in grant.permissions}
    return JSONResponse(present.keys_by_owner(await Keys(uow).of_users([*viewers | {app.owner.id}])))


@router.get("/keys/{app_id:app}/{username:username}", **doc(HookKeys, guard="builder"))
async def list_keys_of(app_id: str, username: str, uow: Work) -> Response:
    """The keys of one person who may view the app."""
    app = await Apps(uow).get(app_id)
    user = await Accounts(uow).get_by_name(username)
    await _require(uow, app, user, Action.VIEW)
    keys = await Keys(uow).of_users([user.id])
    if not keys:
        raise NoKeysError
    return JSONResponse(present.keys_by_owner(keys))


@router.post(
    "/config",
    operation_id="get_config_to_build",
    dependencies=[KnownPush],
    **doc(ConfigDocument, body=PushRequest, errors=(404,), guard="builder"),
)
async def get_config(body: Body, uow: Work) -> Response:
    """The config to build with, for a person who may change the app."""
    app, _user = await _pusher(uow, body)
    return JSONResponse(present.config(await Configs(uow).get(app.name)))


@router.post(
    "/build",
    operation_id="create_pushed_build",
    dependencies=[KnownPush],
    **doc(PushResult, body=PushedBuild, errors=(404, 409), guard="builder"),
)
async def create_build(body: Body, uow: Work) -> Response:
    """Make a release of a finished build."""
    app, user = await _pusher(uow, body)
    request = check_build(body, null_is_empty=True, allow_loopback=True)
    release = await Builds(uow).create(app.name, request, actor=user)
    return JSONResponse({"release": {"version": release.version}})


@router.get("/builds/{app_id:app}", operation_id="list_builds_to_keep", **doc(KeptBuilds, guard="builder"))
async def list_builds_to_keep(app_id: str, uow: Work) -> Response:
    """The builds of releases that can be rolled back to, and of what runs: what belongs to others may be removed."""
    kept = await Builds(uow).kept(app_id)
    images = sorted({build.image for build in kept})
    return JSONResponse({"builds": [str(build.uuid) for build in kept], "images": images})


class NoKeysError(NotFoundError):
    """The person has no SSH key."""

    def __init__(self) -> None:
        super().__init__("No Keys match the given query.")


async def _pusher(uow: Uow, body: Body) -> tuple[App, Account]:
    """The app and the person that the body names, if that person may push to it.

    Raises:
        InvalidFieldsError: the body names none.
        ObjectNotFoundError: there is no such app or person.
        HookForbiddenError: the person may not push to it; a HookBlockedError says why nobody may.
    """
    fields = FieldChecker(body)
    name, username = fields.text("receive_repo", required=True), fields.text("receive_user", required=True)
    fields.finish()
    app = await Apps(uow).get(name)
    user = await Accounts(uow).get_by_name(username)
    await _require(uow, app, user, Action.CHANGE)
    return app, user


async def _require(uow: Uow, app: App, user: Account, action: Action) -> None:
    if not user.is_active:
        raise HookForbiddenError(app.name)
    try:
        await Access(uow).app(app.name, user, action)
    except BlockedError as error:
        raise HookBlockedError(app.name, error.detail) from None
    except (AppNotFoundError, ForbiddenError):
        raise HookForbiddenError(app.name) from None
