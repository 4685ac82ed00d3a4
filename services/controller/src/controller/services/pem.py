"""Reads what users send as a certificate and a private key. Nothing of a key is ever in a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from controller.domain.certificates import MISMATCH_MESSAGE, KeyPair
from controller.domain.errors import InvalidFieldsError, InvalidValueError

NO_CERTIFICATE: Final = "Could not load certificate: "
NO_KEY: Final = "Could not load private key: "
_NOT_PEM: Final = "no -----BEGIN CERTIFICATE----- block in it can be read"
_NO_KEY_BLOCK: Final = "no -----BEGIN PRIVATE KEY----- block in it can be read"
_ENCRYPTED: Final = "it is encrypted, remove the passphrase first: openssl pkey -in key.pem -out plain.pem"
_OTHER_KIND: Final = "only RSA, EC and Ed25519 keys can serve TLS"
_UNREADABLE: Final = (
    ValueError,
    TypeError,  # a name of an ASN.1 kind that goes with another attribute
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
# Those that OpenSSL prints by name and RFC 4514 does not.
_SHORT_NAMES: Final = {
    x509.NameOID.EMAIL_ADDRESS: "emailAddress",
    x509.NameOID.SERIAL_NUMBER: "serialNumber",
    x509.NameOID.GIVEN_NAME: "GN",
    x509.NameOID.SURNAME: "SN",
    x509.NameOID.TITLE: "title",
    x509.NameOID.BUSINESS_CATEGORY: "businessCategory",
    x509.NameOID.POSTAL_CODE: "postalCode",
    x509.NameOID.JURISDICTION_COUNTRY_NAME: "jurisdictionC",
    x509.NameOID.JURISDICTION_LOCALITY_NAME: "jurisdictionL",
    x509.NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME: "jurisdictionST",
}


class _UnreadableError(Exception):
    """Text of a user that is not what it should be; says why."""


def read_key_pair(certificate: str, key: str) -> KeyPair:
    """The pair in two PEM texts: the first certificate is the app's own, its chain follows it.

    Whatever else stands in the texts is dropped, so that a key among the certificates is not kept in the clear. A large
    RSA key takes seconds: call this in a thread.

    Raises:
        InvalidFieldsError: one or both cannot be read; under `certificate` and `key`.
        InvalidValueError: the key is not that of the certificate.
    """
    problems: dict[str, list[str]] = {}
    pair = public = private = None
    try:
        public, pair = _read_certificate(certificate)
    except _UnreadableError as error:
        problems["certificate"] = [f"{NO_CERTIFICATE}{error}"]
    try:
        private = _read_key(key)
    except _UnreadableError as error:
        problems["key"] = [f"{NO_KEY}{error}"]
    if pair is None or public is None or private is None:
        raise InvalidFieldsError(problems)
    if _key_info(public) != _key_info(private.public_key()):
        raise InvalidValueError(MISMATCH_MESSAGE)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return replace(pair, key=pem.decode())


def _read_certificate(text: str) -> tuple[PublicKeyTypes, KeyPair]:
    try:
        chain = x509.load_pem_x509_certificates(text.encode())
        return chain[0].public_key(), _facts(chain)
    except _UNREADABLE:
        raise _UnreadableError(_NOT_PEM) from None


def _read_key(text: str) -> _PrivateKey:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise _UnreadableError(_ENCRYPTED) from None
    except _UNREADABLE:
        raise _UnreadableError(_NO_KEY_BLOCK) from None
    if not isinstance(key, _PrivateKey):
        raise _UnreadableError(_OTHER_KIND)
    return key


def _facts(chain: Sequence[x509.Certificate]) -> KeyPair:
    """What a chain says of itself; the key is still to come."""
    leaf = chain[0]
    common_names = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return KeyPair(
        certificate="".join(each.public_bytes(Encoding.PEM).decode() for each in chain),
        key="",
        common_name=_text(common_names[-1].value) if common_names else None,
        san=_alternative_names(leaf),
        fingerprint=leaf.fingerprint(SHA256()).hex(":").upper(),
        expires=leaf.not_valid_after_utc,
        starts=leaf.not_valid_before_utc,
        issuer=_one_line(leaf.issuer),
        subject=_one_line(leaf.subject),
    )


def _alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names and addresses that it is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = map(_text, names.get_values_for_type(x509.DNSName))
    return (*hosts, *map(str, names.get_values_for_type(x509.IPAddress)))


def _one_line(name: x509.Name) -> str:
    """`/C=DE/O=Shop/CN=shop.example.org`, in the order of the certificate."""
    return "".join(f"/{_short_name(part)}={_text(part.value)}" for part in name)


def _short_name(part: x509.NameAttribute[str | bytes]) -> str:
    return _SHORT_NAMES.get(part.oid, part.rfc4514_attribute_name)


def _text(value: str | bytes) -> str:
    """A value without what neither terminals nor PostgreSQL take."""
    text = value if isinstance(value, str) else value.hex()
    return "".join(char if char.isprintable() else "?" for char in text)


def _key_info(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
