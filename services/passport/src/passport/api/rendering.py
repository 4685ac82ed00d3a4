"""HTML pages from templates, without scripts, and with a policy that allows none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from passport.domain.clients import redirect_origin

_templates: Final = Environment(
    loader=PackageLoader("passport", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def stylesheet() -> str:
    """The style of all pages."""
    return _templates.get_template("passport.css").render()


def page(name: str, *, status: int = 200, form_targets: Iterable[str] = (), **values: object) -> HTMLResponse:
    """The page of the template `<name>.html`.

    `form_targets` are redirect URIs to which the answer to a form on the page may lead: browsers apply `form-action`
    to redirects as well.
    """
    html = _templates.get_template(f"{name}.html").render(values)
    return HTMLResponse(html, status_code=status, headers={"Content-Security-Policy": _policy(form_targets)})


def error_page(title: str, detail: str, *, status: int) -> HTMLResponse:
    """A page that says what went wrong."""
    return page("error", status=status, title=title, detail=detail)


def _policy(form_targets: Iterable[str]) -> str:
    origins = sorted({origin for uri in form_targets if (origin := redirect_origin(uri))})
    form_action = " ".join(["'self'", *origins])
    return (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        f"form-action {form_action}; frame-ancestors 'none'"
    )
