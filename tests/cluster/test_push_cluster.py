"""`git push` to the whole platform: built in a Job, kept in the registry, run as pods, answered through the gateway."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Final
from uuid import uuid4

import pytest
import pytest_asyncio

from shared.bus import InProcessBus
from support.builder_cluster import build_images, build_place
from support.cluster_image import REGISTRY_OF_PODS
from support.cluster_platform import ENTRY, PlatformApp, StartPlatform, until
from support.cluster_pushes import Image, Pusher, images_in, make_pusher, running_builder, running_passport
from support.fixtures import MakeDatabase
from support.kubectl import Kubectl
from support.traffic import Traffic

pytestmark = pytest.mark.timeout(2400)  # the first one makes the images that builds need
Files = Mapping[str, str | bytes]

SERVE: Final = "exec httpd -f -p $PORT -h /www"
WSGI: Final = """\
import hashlib, os
from importlib.metadata import version

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    word = hashlib.sha256(os.environ["WORD"].encode()).hexdigest()
    return [f"gunicorn {version('gunicorn')} {word}".encode()]
"""
WORKER: Final = """\
import time
print("the worker is at work", flush=True)
time.sleep(3600)
"""
SERVER: Final = """\
const ms = require('ms'), word = require('fs').readFileSync('word')
require('http').createServer((_, answer) => answer.end(`${ms(60000)} ${word}`)).listen(process.env.PORT)
"""
BUILD: Final = """\
const word = require('crypto').createHash('sha256').update(process.env.WORD).digest('hex')
require('fs').writeFileSync('word', word)
console.log('the build script has run')
"""


def dockerfile(text: str, command: str = SERVE, *steps: str) -> Files:
    """An app whose web server answers that text."""
    lines = ("FROM busybox:1", f"RUN mkdir /www && echo {text} | tee /www/index.html", *steps)
    return {"Dockerfile": "\n".join((*lines, f"CMD {command}", ""))}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pusher(
    start_platform: StartPlatform,
    kubectl: Kubectl,
    make_module_database: MakeDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Pusher]:
    """A person with git before a platform at work."""
    path = tmp_path_factory.mktemp("pushes")
    images = build_images()
    bus = InProcessBus()
    with build_place(kubectl, path) as place:
        async with (
            running_passport(await make_module_database("passport"), bus) as passport,
            start_platform(passport_url=passport, bus=bus) as platform,
            running_builder(
                path,
                await make_module_database("builder"),
                place=place,
                images=images,
                platform=platform,
                passport=passport,
            ) as builder,
        ):
            yield await make_pusher(platform, builder, path)


async def image_of(app: PlatformApp, ptype: str = "web") -> str:
    """What the Deployment of a process type runs."""
    found = await app.platform.objects("deployments", "-n", app.name)
    (image,) = {
        container["image"]
        for one in found["items"]
        if one["metadata"]["name"].endswith(f"-{ptype}")
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    return str(image)


async def is_pinned_and_without(app: PlatformApp, secret: str) -> None:
    """The image of web is the app's own, named by what is in it; neither it nor what is kept for the next build has
    that secret anywhere: config, history or files."""
    name = await image_of(app)
    assert name.startswith(f"{REGISTRY_OF_PODS}/{app.name}/{app.name}@sha256:")
    kept = await images_in(f"{app.name}/cache")
    assert kept
    for image in (Image(name), *kept):
        assert secret.encode() not in await image.everything()


async def test_a_dockerfile_is_built_deployed_and_answers_with_its_config_kept_out_of_the_image(pusher: Pusher) -> None:
    app, word = await pusher.platform.create(), uuid4().hex
    await app.set(WORD=word)
    step = "RUN --mount=type=secret,id=WORD sha256sum < /run/secrets/WORD > /www/word"
    outcome = await pusher.push(app, dockerfile("first", SERVE, step))
    assert outcome.status == 0, outcome.output
    told = [
        *("Building Dockerfile for web", "RUN mkdir /www", "Build complete, making a release", "rolling out web"),
        *(f"{app.name}:v3 deployed to Workflow", f"http://{app.host}"),
    ]
    places = [outcome.output.find(words) for words in told]
    assert -1 not in places, outcome.output
    assert places == sorted(places), outcome.output
    assert await app.answers() == "first\n"
    assert hashlib.sha256(word.encode()).hexdigest() in await app.answers("/word")
    await is_pinned_and_without(app, word)
    assert b"first" in await Image(await image_of(app)).everything()  # so that it would have been found


async def test_a_second_push_is_answered_and_a_rollback_takes_it_back(pusher: Pusher) -> None:
    app = await pusher.platform.create()
    first = await pusher.push(app, dockerfile("old"))
    assert first.status == 0, first.output
    second = await pusher.push(app, dockerfile("new"))
    assert second.status == 0, second.output
    assert f"{app.name}:v3 deployed to Workflow" in second.output
    await app.answers(text="new\n")
    newer = await image_of(app)
    await app.call("POST", "releases/rollback/", expect=201, json={"version": 2})
    await app.succeeds(4)
    await app.answers(text="old\n")
    assert await image_of(app) != newer


async def test_a_version_that_crashes_fails_the_push_and_the_old_one_answers(pusher: Pusher) -> None:
    app = await pusher.platform.create()
    first = await pusher.push(app, dockerfile("good"))
    assert first.status == 0, first.output
    good = await image_of(app)
    await app.answers(text="good\n")  # the gateway has learned of it
    traffic = Traffic(f"http://{ENTRY}/", host=app.host, rate=5, limit=1000, keep_alive=False)
    answering = asyncio.create_task(traffic.run())
    failed = await pusher.push(app, dockerfile("bad", "echo no database there; exit 3"))
    traffic.stop()
    meanwhile = await answering
    assert failed.status != 0, failed.output
    assert "[remote rejected]" in failed.output
    assert "Release v3 failed, process type web (process-crashed)" in failed.output
    assert "no database there" in failed.output
    assert "Try the command with `drycc run`." in failed.output
    assert f"{app.name} runs v2 again." in failed.output
    assert meanwhile.failures == []
    assert meanwhile.answers.keys() == {"good"}
    await app.answers(text="good\n")
    assert await image_of(app) == good
    third = await pusher.push(app, dockerfile("better"))
    assert third.status == 0, third.output
    await app.answers(text="better\n")


async def test_a_python_app_without_a_dockerfile_runs_its_process_types(pusher: Pusher) -> None:
    app, word = await pusher.platform.create(), uuid4().hex
    await app.set(WORD=word)
    files = {
        "requirements.txt": "gunicorn==23.0.0\n",
        "Procfile": "web: gunicorn app:app --bind 0.0.0.0:$PORT\nworker: python worker.py\n",
        "app.py": WSGI,
        "worker.py": WORKER,
    }
    outcome = await pusher.push(app, files)
    assert outcome.status == 0, outcome.output
    assert "Python app detected" in outcome.output
    assert f"http://{app.host}" in outcome.output
    assert await app.answers() == f"gunicorn 23.0.0 {hashlib.sha256(word.encode()).hexdigest()}"
    await is_pinned_and_without(app, word)
    await app.scale(worker=1)
    pods = await app.runs(web=1, worker=1)
    assert await image_of(app, "worker") == await image_of(app)
    (worker,) = [pod["name"] for pod in pods if pod["type"] == "worker"]

    async def is_at_work() -> bool:
        return "the worker is at work" in "\n".join(await app.logs(worker))

    await until(is_at_work)


async def test_a_node_app_without_a_dockerfile_is_built_with_its_config(pusher: Pusher) -> None:
    app, word = await pusher.platform.create(), uuid4().hex
    await app.set(WORD=word)
    package = {
        "name": "app",
        "version": "1.0.0",
        "scripts": {"start": "node server.js", "build": "node build.js"},
        "dependencies": {"ms": "2.1.3"},
    }
    outcome = await pusher.push(app, {"package.json": json.dumps(package), "server.js": SERVER, "build.js": BUILD})
    assert outcome.status == 0, outcome.output
    assert "Node.js app detected" in outcome.output
    assert "the build script has run" in outcome.output
    assert f"http://{app.host}" in outcome.output
    assert await app.answers() == f"1m {hashlib.sha256(word.encode()).hexdigest()}"
    await is_pinned_and_without(app, word)
