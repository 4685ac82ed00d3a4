"""Accounts and the OAuth 2 / OpenID Connect provider of Workflow."""
