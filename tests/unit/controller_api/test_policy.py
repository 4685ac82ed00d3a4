"""The table of who may do what."""

from __future__ import annotations

import pytest

from controller.services.access import POLICY, Action, Role, is_allowed

EVERYTHING = ("view", "change", "delete")


def test_every_action_has_a_rule() -> None:
    assert set(POLICY) == set(Action)


@pytest.mark.parametrize("action", Action)
def test_those_in_charge_may_do_everything(action: Action) -> None:
    assert is_allowed(action, Role.SUPERUSER, ())
    assert is_allowed(action, Role.OWNER, ())


@pytest.mark.parametrize("action", Action)
def test_staff_may_do_everything_but_give_away(action: Action) -> None:
    assert is_allowed(action, Role.STAFF, ()) is (action not in (Action.SHARE, Action.TRANSFER, Action.AUDIT))


@pytest.mark.parametrize("action", Action)
def test_others_may_do_nothing_unasked(action: Action) -> None:
    assert not is_allowed(action, Role.OTHER, ())


@pytest.mark.parametrize(
    ("permissions", "allowed"),
    [
        (("view",), {Action.VIEW, Action.EXEC}),
        (("change",), {Action.CHANGE}),
        (("delete",), {Action.DELETE}),
        (EVERYTHING, {Action.VIEW, Action.EXEC, Action.CHANGE, Action.DELETE}),
    ],
)
def test_grants_open_what_they_name(permissions: tuple[str, ...], allowed: set[Action]) -> None:
    assert {action for action in Action if is_allowed(action, Role.OTHER, permissions)} == allowed
