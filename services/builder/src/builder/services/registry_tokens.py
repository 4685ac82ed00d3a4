"""Tokens of the registry: what distribution's token authentication takes for a proof (its specification, "jwt").

The certificate travels in the header (`x5c`): registries of all versions check it against their `rootcertbundle`, while
ids of keys are made in another way in version 3 than before.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey

from builder.domain.access import Access
from shared.settings import SettingsError

LIFETIME: Final = timedelta(minutes=5)
_ALGORITHM: Final = "ES256"
_KEY: Final = "BUILDER_REGISTRY_TOKEN_KEY"
_CERTIFICATE: Final = "BUILDER_REGISTRY_TOKEN_CERTIFICATE"


class RegistryTokens:
    """Signs tokens for one registry, which knows `issuer` and `service` from its configuration.

    `certificates` are those of the key, its own first.

    Raises:
        SettingsError: key and certificates cannot be read, do not belong together, or are not valid at `now`.
    """

    def __init__(self, *, key: str, certificates: str, issuer: str, service: str, now: datetime) -> None:
        private = _private_key(key)
        self._key = ECKey.import_key(private)
        self._chain = [b64encode(one.public_bytes(Encoding.DER)).decode() for one in _chain(certificates, private, now)]
        self._issuer = issuer
        self.service = service

    def sign(self, subject: str, access: Iterable[Access], now: datetime) -> str:
        """A token for `subject`, good from `now` on for `LIFETIME`."""
        issued = int(now.timestamp())
        claims = {
            "iss": self._issuer,
            "sub": subject,
            "aud": self.service,
            "iat": issued,
            "nbf": issued,
            "exp": issued + int(LIFETIME.total_seconds()),
            "jti": uuid4().hex,
            "access": [
                {"type": "repository", "name": one.repository, "actions": sorted(one.actions)} for one in access
            ],
        }
        header = {"alg": _ALGORITHM, "typ": "JWT", "x5c": self._chain}
        return jwt.encode(header, claims, self._key, algorithms=[_ALGORITHM])


def _private_key(text: str) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise SettingsError(f"{_KEY}: must be a private key of the curve P-256 as PEM, without a password")
    return key


def _chain(text: str, key: EllipticCurvePrivateKey, now: datetime) -> Sequence[x509.Certificate]:
    try:
        chain = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise SettingsError(f"{_CERTIFICATE}: must be the certificate of {_KEY} as PEM") from None
    if chain[0].public_key() != key.public_key():
        raise SettingsError(f"{_CERTIFICATE}: its first certificate is not that of {_KEY}")
    if not chain[0].not_valid_before_utc <= now <= chain[0].not_valid_after_utc:
        raise SettingsError(f"{_CERTIFICATE}: is not valid now; make a new one and give it to the registry, too")
    return chain
