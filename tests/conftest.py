"""Makes the fixtures of `support` available to every test."""

import signal

from support.fixtures import (  # noqa: F401  pytest finds fixtures by name in this module
    make_database,
    make_module_database,
    postgres,
    rabbitmq,
    rabbitmq_url,
    template_databases,
)

# A shell starts what runs in the background with SIGINT ignored, and children inherit that: no Ctrl-C of a test would
# reach the git that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
