"""People, their tokens, keys and grants, logins, and what builders ask: the JSON of it, as types."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from controller.api.documents import Created, Timestamp
from controller.api.documents_releases import Command, Dryccfile, Image, Ptype

Permission = Literal["view", "change", "delete"]
PermissionList = Annotated[
    str, Field(pattern="^(view|change|delete)(,(view|change|delete))*$", examples=["view,change"])
]
"""Names with commas between them and no blanks."""


class EmptyDocument(TypedDict):
    """Nothing: the caller is known, and this is a controller."""


class UserDocument(TypedDict):
    """A person. `id` is the identity provider's number for them."""

    id: int
    username: str
    email: str
    first_name: str
    last_name: str
    is_superuser: bool
    is_staff: bool
    is_active: bool
    groups: list[str]
    user_permissions: list[str]
    last_login: Timestamp | None
    date_joined: Timestamp | None


class TokenDocument(Created):
    """A token of the caller. `fuzzy_key` is the beginning and the end of its text, which is nowhere else."""

    owner: str
    alias: str
    fuzzy_key: str
    last_used: Timestamp | None


class KeyRequest(TypedDict):
    """A public SSH key in the form of `authorized_keys`, under a name of the owner's choice."""

    id: Annotated[str, Field(max_length=128)]
    public: str


class KeyDocument(Created):
    """An SSH key; `fingerprint` is MD5 in colon form."""

    owner: str
    id: str
    public: str
    fingerprint: str


class LoginRequest(TypedDict):
    """User name and password; without both of them the login goes on in a browser."""

    username: NotRequired[str | None]
    password: NotRequired[str | None]


class LoginKey(TypedDict):
    """The key that the login's token is polled with."""

    key: str


class LoginAnswer(TypedDict):
    """The form of the page that asks; `form_token` is its own."""

    key: str
    form_token: str
    answer: Literal["yes", "no"]


class LoginResult(TypedDict):
    """A token, or `fail` when the login was refused."""

    token: str
    username: str


class GrantRequest(TypedDict):
    """Permissions that somebody is to have besides those that they have."""

    username: str
    permissions: PermissionList


class GrantChange(TypedDict):
    """The permissions that somebody is to have, and no others."""

    permissions: PermissionList


class GrantDocument(TypedDict):
    """What somebody was granted on an app."""

    app: str
    username: str
    permissions: list[Permission]


class KeyOwner(TypedDict):
    """Whose key it is, and the apps that they may push to."""

    username: str
    apps: list[str]


class HookKey(TypedDict):
    """An SSH key of somebody who may view an app."""

    key: str
    fingerprint: str


HookKeys: TypeAlias = dict[str, list[HookKey]]
"""User name -> keys."""


class PushRequest(TypedDict):
    """Who pushes (`receive_user`) to which app (`receive_repo`)."""

    receive_user: str
    receive_repo: str


class PushedBuild(PushRequest):
    """A finished build. Null counts as empty in the optional fields."""

    image: Image
    stack: Annotated[str, Field(max_length=32)]
    sha: NotRequired[Annotated[str, Field(max_length=40)] | None]
    procfile: NotRequired[dict[Ptype, Command] | None]
    dryccfile: NotRequired[Dryccfile | None]
    dockerfile: NotRequired[str | None]


class MadeRelease(TypedDict):
    """A release by its number."""

    version: int


class KeptBuilds(TypedDict):
    """The builds that are to be kept: their ids, which are those of the builder for what it told by an event, and their
    images."""

    builds: list[str]
    images: list[str]


class PushResult(TypedDict):
    """The release that a build became."""

    release: MadeRelease
