"""The catalogue in docs/events.md against the event classes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.events import Event, UserChanged, registered_events
from shared.events.apps import AppEvent
from shared.events.builds import BuildEvent
from shared.events.releases import ReleaseEvent

CATALOGUE = (Path(__file__).parents[3] / "docs/events.md").read_text()
ROW = re.compile(r"^\| `([a-z.]+)` \| (\w+) \| (\w+) \| [^|]+ \|([^|]*)\|$", re.MULTILINE)
ROWS = {row[0]: row[1:] for row in ROW.findall(CATALOGUE)}
# The kinds of the table, the closest to an event's own fields first.
KINDS: dict[str, type[Event]] = {"release": ReleaseEvent, "build": BuildEvent, "app": AppEvent}
OURS = [event for event in registered_events() if event.__module__.startswith("shared.events")]


def test_every_event_is_in_the_catalogue() -> None:
    assert set(ROWS) == {event.type for event in OURS}
    assert {event.schema_version for event in OURS} == {1}


@pytest.mark.parametrize("event", OURS, ids=lambda event: event.type)
def test_its_row_names_its_kind_its_publisher_and_its_fields(event: type[Event]) -> None:
    kind, publisher, further = ROWS[event.type]
    expected = next((name for name, base in KINDS.items() if issubclass(event, base)), event.type.partition(".")[0])
    assert kind == expected
    publishers = {"build": "builder", "user": "passport"}
    assert publisher == publishers.get(kind, "controller")
    inherited = KINDS[kind].model_fields if kind in KINDS else {}
    assert set(re.findall(r"`(\w+)`", further)) == set(event.model_fields) - set(inherited)


def test_the_kinds_are_explained() -> None:
    for kind, base in KINDS.items():
        sentence = re.search(rf"\*\*{kind}\*\* events ([^*]+)", CATALOGUE)
        assert sentence
        own = set(base.model_fields) - ({"app"} if kind == "build" else set())
        assert own <= set(re.findall(r"`(\w+)`", sentence[1]))
    assert "user_id" in UserChanged.model_fields
