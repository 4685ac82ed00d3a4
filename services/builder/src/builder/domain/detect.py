"""Which stack a pushed tree is built with, and what starts it when it does not say so itself."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

from shared.errors import InvalidInputError

Kind = Literal["python", "node", "static", "procfile", "container", "chosen"]
CONTAINER, BUILDPACK = "container", "buildpack"

PYTHON_FILES = ("requirements.txt", "pyproject.toml", "setup.py")
NODE_FILES = ("package.json", ".node-version")
STATIC_ROOTS = ("public", "")
_LOOKED_FOR = (
    "Dockerfile, requirements.txt, pyproject.toml, setup.py, package.json, index.html, public/index.html, Procfile"
)
_UNSUPPORTED = {
    "Pipfile": "write requirements.txt with `pipenv requirements > requirements.txt` and commit it",
    "Gemfile": "Ruby needs a Dockerfile here",
    "go.mod": "Go needs a Dockerfile here, or a Procfile that names a program in the repository",
    "Cargo.toml": "Rust needs a Dockerfile here, or a Procfile that names a program in the repository",
    "pom.xml": "Java needs a Dockerfile here",
    "composer.json": "PHP needs a Dockerfile here",
}
_PYTHON_MAINS = ("app.py", "main.py", "server.py", "wsgi.py", "asgi.py", "run.py")


class NothingRecognisedError(InvalidInputError):
    """No stack fits the tree; the detail says what was looked for or what to add."""

    code: ClassVar[str] = "nothing-recognised"
    title: ClassVar[str] = "No stack fits this repository"


class NoProcfileError(InvalidInputError):
    """The stack is clear, but nothing says how the app is started."""

    code: ClassVar[str] = "no-procfile"
    title: ClassVar[str] = "The repository has no Procfile"


@dataclass(frozen=True)
class Detected:
    """`stack` is what the API calls it, `kind` how it is built on this machine."""

    stack: str
    kind: Kind


def detect(
    names: Collection[str],
    *,
    asked: str | None,
    image_builds: Collection[str] = (),
    public: Collection[str] = (),
    has_builder: bool = False,
) -> Detected:
    """Choose the stack from the names in the root of the tree (directories end in `/`).

    A stack that was asked for wins (push option or the variable DRYCC_STACK), then a Dockerfile or a pipeline with
    `build` (the process types in `image_builds`), then the language, then a Procfile. `public` lists `public/`.
    With a builder image of the app's choice (`has_builder`) that alone decides what it can build.

    The buildpacks of our builder image (`imagebuilder/buildpacks`) detect the same: a test compares the two.

    Raises:
        NothingRecognisedError: nothing fits, or what was asked for does not exist or does not fit.
    """
    if asked not in (None, CONTAINER, BUILDPACK):
        raise NothingRecognisedError(
            f"the stack `{asked}` does not exist: set DRYCC_STACK to `{CONTAINER}` or `{BUILDPACK}`, or unset it"
        )
    has_images = "Dockerfile" in names or bool(image_builds)
    if asked == CONTAINER and not has_images:
        raise NothingRecognisedError(
            "the stack `container` was asked for and there is no Dockerfile: add one, or unset DRYCC_STACK"
        )
    if asked == BUILDPACK and image_builds:
        raise NothingRecognisedError(
            f"the stack `{BUILDPACK}` was asked for, but `build` in .drycc needs images ({', '.join(image_builds)}): "
            "remove `build` there, or unset DRYCC_STACK"
        )
    if has_images and asked != BUILDPACK:
        return Detected(CONTAINER, "container")
    return Detected(BUILDPACK, "chosen") if has_builder else _detect_language(names, public)


def _detect_language(names: Collection[str], public: Collection[str]) -> Detected:
    if any(name in names for name in PYTHON_FILES):
        return Detected(BUILDPACK, "python")
    if "package.json" in names:
        return Detected(BUILDPACK, "node")
    if ".python-version" in names:
        return Detected(BUILDPACK, "python")
    if ".node-version" in names:
        return Detected(BUILDPACK, "node")
    if "Pipfile" in names:
        raise NothingRecognisedError(f"found Pipfile, which is not read: {_UNSUPPORTED['Pipfile']}")
    if "Procfile" in names:
        return Detected(BUILDPACK, "procfile")
    if "index.html" in names or "index.html" in public:
        return Detected(BUILDPACK, "static")
    for name, advice in _UNSUPPORTED.items():
        if name in names:
            raise NothingRecognisedError(f"found {name}: {advice}")
    raise NothingRecognisedError(f"nothing to build was found: looked for {_LOOKED_FOR}")


def python_example(names: Collection[str], dependencies: str) -> str:
    """A Procfile line that fits a Python app, judged by its file names and the text that lists its dependencies."""
    if "manage.py" in names:
        return "web: python manage.py runserver 0.0.0.0:$PORT"
    main = next((name for name in _PYTHON_MAINS if name in names), None)
    if main is None:
        return "web: python app.py"
    module, dependencies = main.removesuffix(".py"), dependencies.lower()
    if "gunicorn" in dependencies:
        return f"web: gunicorn {module}:app --bind 0.0.0.0:$PORT"
    if "uvicorn" in dependencies:
        return f"web: uvicorn {module}:app --host 0.0.0.0 --port $PORT"
    if "flask" in dependencies:
        return f"web: flask --app {module} run --host 0.0.0.0 --port $PORT"
    return f"web: python {main}"


def node_procfile(package_json: bytes) -> dict[str, str]:
    """`npm start` when package.json has such a script.

    Raises:
        NoProcfileError: there is none, or package.json does not say so in valid JSON.
    """
    try:
        package = json.loads(package_json)
    except (ValueError, RecursionError) as exc:
        raise NothingRecognisedError(f"package.json is not valid JSON: {exc}") from exc
    scripts = package.get("scripts") if isinstance(package, dict) else None
    if isinstance(scripts, dict) and isinstance(scripts.get("start"), str):
        return {"web": "npm start"}
    raise NoProcfileError(
        "there is no Procfile and package.json has no `start` script: add one, or a Procfile with a line such as "
        "`web: node server.js`"
    )
