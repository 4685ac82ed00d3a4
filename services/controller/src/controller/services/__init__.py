"""Use cases. Each works in the transaction of its `Uow` and never commits."""
