"""The protocol: Authlib's grants and endpoints on our tables, inside SQLAlchemy's greenlet bridge.

Authlib ships no types, so that its base classes are `Any` to the type checker: hence the `misc` suppressions here.
"""
