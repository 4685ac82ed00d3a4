"""Makes the fixtures of `support` available to every test."""

from support.fixtures import (  # noqa: F401  pytest finds fixtures by name in this module
    make_database,
    make_module_database,
    postgres,
    rabbitmq,
    rabbitmq_url,
    template_databases,
)
