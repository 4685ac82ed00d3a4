"""Events leave and enter a service in the same transaction as the state that they belong to."""

from shared.outbox.inbox import Inbox
from shared.outbox.relay import Relay
from shared.outbox.tables import create_inbox, create_outbox, inbox_table, outbox_table
from shared.outbox.writer import Outbox

__all__ = ["Inbox", "Outbox", "Relay", "create_inbox", "create_outbox", "inbox_table", "outbox_table"]
