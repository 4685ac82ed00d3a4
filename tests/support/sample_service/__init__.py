"""A service package as small as can be: the tests of `shared` migrate it and publish through its outbox."""

from sqlalchemy import Column, Integer, MetaData, Table, Text

from shared.db import NAMING_CONVENTION
from shared.outbox import inbox_table, outbox_table

metadata = MetaData(naming_convention=NAMING_CONVENTION)
outbox = outbox_table(metadata)
inbox = inbox_table(metadata)
notes = Table("notes", metadata, Column("id", Integer, primary_key=True), Column("body", Text, nullable=False))
