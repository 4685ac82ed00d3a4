"""`resources` against the suite (cli.md 10.18), whose service broker is one in memory."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

import pytest

from client.suite import Suite
from client.world import App, succeed
from controller.brokers import MemoryBroker
from controller.domain.resources import BrokerUnavailableError

NO_RESOURCE = '"No Resource matches the given query."'
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture
def broker(suite: Suite) -> Iterator[MemoryBroker]:
    """The broker, to be scripted; afterwards it works as usual."""
    broker = suite.context.broker
    assert isinstance(broker, MemoryBroker)
    yield broker
    broker.go_away(None)
    broker.let_go()


async def test_catalogue(still: App) -> None:
    services = await succeed(still.owner, "resources", "services")
    assert services.requests == ["GET /v2/resources/services/?limit=100"]
    assert services.lines[0].split() == ["ID", "NAME", "UPDATEABLE"]
    assert [line.split()[1:] for line in services.lines[1:]] == [
        ["mysql", "true"],
        ["postgres", "true"],
        ["redis", "true"],
    ]
    plans = await succeed(still.owner, "resources", "plans", "postgres", "-l", "5")
    assert plans.requests == ["GET /v2/resources/services/postgres/plans/?limit=5"]
    assert plans.lines[0].split() == ["ID", "NAME", "DESCRIPTION"]
    assert [re.split(r" {2,}", line)[1] for line in plans.lines[1:]] == ["standard-10", "standard-50"]
    none = await succeed(still.owner, "resources", "plans", "no-such-thing")
    assert none.stdout == "Could not find any plans in no-such-thing service.\n"


async def test_a_resource(app: App) -> None:
    name = app.name
    assert (await app.ok("resources")).stdout == f"No resources found in {name} app.\n"
    made = await app.ok("resources", "create", "shop-db", "postgres", "standard-10", "size=10", "a.b=c")
    assert made.stdout == f"Creating shop-db to {name}... done\n"
    assert made.requests == [
        f'POST /v2/apps/{name}/resources/ {{"name":"shop-db","plan":"postgres:standard-10",'
        '"options":{"a.b":"c","size":"10"}}'
    ]
    listed = await app.ok("resources", "list")
    assert listed.lines[0].split() == ["NAME", "OWNER", "PLAN", "UPDATED"]
    assert re.fullmatch(rf"shop-db +ana +postgres:standard-10 +{TIME}", listed.lines[1])
    bound = await app.ok("resources", "bind", "shop-db")
    assert bound.stdout == "Binding resource... done\n"
    assert bound.requests == [f'PATCH /v2/apps/{name}/resources/shop-db/binding/ {{"bind_action":"bind"}}']
    shown = await app.ok("resources", "describe", "shop-db", "--details")
    words = shown.stdout.split()
    assert [words[words.index(label) + 1] for label in ("App:", "Name:", "Plan:", "Owner:", "Status:", "Binding:")] == [
        name,
        "shop-db",
        "postgres:standard-10",
        "ana",
        "Ready",
        "Ready",
    ]
    assert "%!s" not in shown.stdout  # all data are texts
    data = words[words.index("Data:") + 1 : words.index("Options:")]
    assert data[::2] == ["HOST:", "PASSWORD:", "PORT:", "USERNAME:"]
    options = words[words.index("Options:") + 1 : words.index("Message:")]
    assert options == ["a.b:", "c", "size:", "10"]
    unbound = await app.ok("resources", "unbind", "shop-db")
    assert unbound.stdout == "Unbinding resource... done\n"
    assert "HOST:" not in (await app.ok("resources", "describe", "shop-db")).stdout
    destroyed = await app.drycc("resources", "destroy", "shop-db", typed=("shop-db",))
    assert destroyed.status == 0
    assert destroyed.stdout.endswith("Destroying shop-db...\ndone\n")
    assert destroyed.requests == [f"DELETE /v2/apps/{name}/resources/shop-db/"]
    assert await app.refused("resources", "describe", "shop-db") == NO_RESOURCE


async def test_options_from_a_file(app: App) -> None:
    content = "size: 10\n"
    encoded = base64.b64encode(content.encode()).decode()
    for file, text in (("values.yaml", content), ("empty.yaml", ""), ("bad.yaml", "{")):
        (app.owner.directory / file).write_text(text)
    words = ("resources", "create", "shop-db", "postgres", "standard-10", "dropped=1", "-f")
    done = await app.ok(*words, "values.yaml")
    assert json.loads(done.exchanges[0].body)["options"] == {"rawValues": encoded}
    assert await app.refused(*words, "empty.yaml") == "empty.yaml is empty"
    assert (await app.drycc(*words, "bad.yaml")).exchanges == ()
    updated = await app.ok("resources", "update", "shop-db", "postgres", "standard-50", "-f", "values.yaml")
    assert updated.stdout == f"Updating shop-db to {app.name}... done\n"
    assert updated.requests == [
        f'PUT /v2/apps/{app.name}/resources/shop-db/ {{"plan":"postgres:standard-50",'
        f'"options":{{"rawValues":"{encoded}"}}}}'
    ]
    assert "postgres:standard-50" in (await app.ok("resources")).stdout


async def test_resources_that_are_refused(app: App, broker: MemoryBroker) -> None:
    detail = 'Unknown Error (400): {{"detail":"the resource instance {}"}}'.format
    short = await app.refused("resources", "create", "db", "postgres", "standard-10")
    assert short == 'Unknown Error (400): {"name":["The length of name must be between 3 and 63"]}'
    plan = await app.refused("resources", "create", "shop-db", "postgres", "nope")
    assert plan.startswith('Unknown Error (400): {"plan":["')
    broker.hold()
    await app.ok("resources", "create", "shop-db", "postgres", "standard-10")
    assert await app.refused("resources", "bind", "shop-db") == detail("is not ready")
    assert await app.refused("resources", "destroy", "shop-db", "--confirm=shop-db") == detail("is provisioning")
    (app.owner.directory / "values.yaml").write_text("size: 10\n")
    update = ("resources", "update", "shop-db", "postgres", "standard-50", "-f", "values.yaml")
    in_progress = 'Unknown Error (400): {"detail":"this resource instance is in progress"}'
    assert await app.refused(*update) == in_progress
    broker.let_go()
    other = await app.refused("resources", "update", "shop-db", "mysql", "standard-50", "-f", "values.yaml")
    assert other == detail("cann't changed")
    assert await app.refused("resources", "unbind", "shop-db") == detail("is not binding")
    await app.ok("resources", "bind", "shop-db")
    assert await app.refused("resources", "bind", "shop-db") == detail("is binding")
    assert await app.refused("resources", "destroy", "shop-db", "--confirm=shop-db") == detail("is still binding")


async def test_without_a_broker(still: App, broker: MemoryBroker) -> None:
    broker.go_away(BrokerUnavailableError("the broker cannot be reached"))
    unavailable = 'Unknown Error (503): {"detail":"the broker cannot be reached"}'
    for words in (("services",), ("plans", "postgres")):
        done = await still.owner.run("resources", *words)
        assert (done.status, done.error) == (1, unavailable)
    assert await still.refused("resources", "create", "shop-db", "postgres", "standard-10") == unavailable
    assert (await still.ok("resources")).stdout == f"No resources found in {still.name} app.\n"


async def test_resources_that_are_not_there(still: App) -> None:
    (still.owner.directory / "values.yaml").write_text("size: 10\n")
    for words in (
        ("describe", "shop-db", "--details"),
        ("bind", "shop-db"),
        ("unbind", "shop-db"),
        ("destroy", "shop-db", "--confirm=shop-db"),
        ("update", "shop-db", "postgres", "large", "-f", "values.yaml"),
    ):
        assert await still.refused("resources", *words) == NO_RESOURCE


async def test_words_that_the_client_refuses(still: App) -> None:
    error = await still.refused("resources", "update", "shop-db", "postgres", "large")
    assert error == "'large' does not match the pattern 'key=var', ex: MODE=test"
    asked = await still.drycc("resources", "destroy", "shop-db", typed=("no",))
    assert (asked.status, asked.error) == (1, "resource shop-db does not match confirm no, aborting")
    assert asked.exchanges == ()
