"""The same running service as in the integration tests."""

from integration.passport.conftest import passport  # noqa: F401  pytest finds fixtures by name in this module
