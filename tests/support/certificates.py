"""Key pairs for tests, made on the spot."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Kind = Literal["rsa", "ec", "ed25519"]
PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
STARTS = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class MadePair:
    """A self-signed certificate and its key, PEM."""

    certificate: str
    key: str


def trusting(*authorities: str) -> ssl.SSLContext:
    """What checks servers against these certificates, PEM, and no others."""
    return ssl.create_default_context(cadata="\n".join(authorities))


@cache
def private_key(kind: Kind, number: int) -> PrivateKey:
    """A key; another one for another number."""
    if kind == "rsa":
        return generate_rsa(public_exponent=65537, key_size=2048)
    return generate_ec(SECP256R1()) if kind == "ec" else Ed25519PrivateKey.generate()


def key_pem(key: PrivateKey) -> str:
    """The key as PKCS#8."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def make_pair(
    *names: str,
    kind: Kind = "ec",
    number: int = 0,
    subject: x509.Name | None = None,
    starts: datetime = STARTS,
    days: int = 20000,
) -> MadePair:
    """A certificate for these host names; the first is its common name unless a subject is given."""
    key = private_key(kind, number)
    common_name = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in names[:1]]
    subject = subject or x509.Name(common_name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(starts + timedelta(days=days))
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    certificate = builder.sign(key, None if isinstance(key, Ed25519PrivateKey) else SHA256())
    return MadePair(certificate.public_bytes(Encoding.PEM).decode(), key_pem(key))
