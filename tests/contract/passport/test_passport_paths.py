"""Paths that clients of the compatible platform know: with and without a slash at the end, with the version headers."""

from __future__ import annotations

from integration.passport.world import Passport

# method, path, status for somebody unknown who sends nothing, and the media type of the answer
EXCHANGES = [
    ("GET", "/oauth/authorize", 400, "text/html"),
    ("POST", "/oauth/authorize", 400, "text/html"),
    ("POST", "/oauth/token", 400, "application/json"),
    ("GET", "/oauth/token", 405, "application/problem+json"),
    ("POST", "/oauth/revoke_token", 400, "application/json"),
    ("POST", "/oauth/introspect", 400, "application/json"),
    ("GET", "/oauth/userinfo", 401, "application/json"),
    ("POST", "/oauth/userinfo", 401, "application/json"),
    ("GET", "/oauth/.well-known/openid-configuration", 200, "application/json"),
    ("GET", "/oauth/.well-known/jwks.json", 200, "application/json"),
    ("GET", "/user/login", 200, "text/html"),
    ("GET", "/user/login/done", 200, "text/html"),
    ("GET", "/user/logout", 302, ""),
    ("GET", "/user/info", 403, "application/json"),
    ("GET", "/settings", 200, "application/json"),
]


async def test_paths(passport: Passport) -> None:
    for method, path, status, media_type in EXCHANGES:
        for variant in (path, f"{path}/"):
            response = await passport.browser.request(method, variant)
            found = (response.status_code, response.headers.get("content-type", "").partition(";")[0])
            assert (variant, *found) == (variant, status, media_type)
            assert response.headers["DRYCC_API_VERSION"] == "1.1"
            assert response.headers["DRYCC_PLATFORM_VERSION"] == "1.1.0"
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_health(passport: Passport) -> None:
    for path in ("/healthz", "/readiness"):
        response = await passport.browser.get(path)
        assert (response.status_code, response.text) == (200, "OK")
        assert response.headers["DRYCC_API_VERSION"] == "1.1"
