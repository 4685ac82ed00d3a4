"""Reading certificates and keys."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from controller.domain.errors import InvalidFieldsError, InvalidValueError
from controller.services.pem import read_key_pair
from support.certificates import STARTS, Kind, make_pair, private_key

NO_CERTIFICATE = "Could not load certificate: no -----BEGIN CERTIFICATE----- block in it can be read"
NO_KEY = "Could not load private key: no -----BEGIN PRIVATE KEY----- block in it can be read"
ENCRYPTED = (
    "Could not load private key: it is encrypted, remove the passphrase first: openssl pkey -in key.pem -out plain.pem"
)
OTHER_KIND = "Could not load private key: only RSA, EC and Ed25519 keys can serve TLS"


def problems(certificate: str, key: str) -> dict[str, list[str]]:
    with pytest.raises(InvalidFieldsError) as caught:
        read_key_pair(certificate, key)
    return caught.value.errors


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_pairs_of_all_kinds(kind: Kind) -> None:
    made = make_pair("shop.example.org", "*.shop.example.org", kind=kind)
    pair = read_key_pair(made.certificate, made.key)
    der = ssl.PEM_cert_to_DER_cert(made.certificate)
    digest = hashlib.sha256(der).hexdigest().upper()
    assert pair.fingerprint == ":".join(digest[i : i + 2] for i in range(0, 64, 2))
    assert (pair.common_name, pair.san) == ("shop.example.org", ("shop.example.org", "*.shop.example.org"))
    assert (pair.starts, pair.expires) == (STARTS, STARTS + timedelta(days=20000))
    assert pair.subject == pair.issuer == "/CN=shop.example.org"
    assert (pair.certificate, pair.key) == (made.certificate, made.key)
    assert "PRIVATE" not in repr(pair)


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_keys_of_others_do_not_fit(kind: Kind) -> None:
    made = make_pair("shop.example.org", kind=kind)
    for other in (make_pair("x.org", kind=kind, number=1), make_pair("x.org", kind="ec", number=2)):
        with pytest.raises(InvalidValueError, match=r"^Certificate and private key do not match!$"):
            read_key_pair(made.certificate, other.key)


def test_traditional_keys() -> None:
    kinds: tuple[Kind, ...] = ("rsa", "ec")
    for kind in kinds:
        made, key = make_pair("shop.example.org", kind=kind), private_key(kind, 0)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        assert read_key_pair(made.certificate, (parameters if kind == "ec" else "") + text).key == made.key


def test_names_as_openssl_prints_them() -> None:
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(x509.NameOID.STATE_OR_PROVINCE_NAME, "Bayern"),
            x509.NameAttribute(x509.NameOID.LOCALITY_NAME, "München"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Shop \x1b[31m\0"),
            x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "ops@example.org"),
            x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, "7"),
            x509.NameAttribute(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), "odd"),
            x509.NameAttribute(x509.NameOID.X500_UNIQUE_IDENTIFIER, b"\x00\xff", x509.name._ASN1Type.BitString),
        ]
    )
    made = make_pair(subject=subject)
    pair = read_key_pair(made.certificate, made.key)
    assert pair.subject == (
        "/C=DE/ST=Bayern/L=München/O=Shop ?[31m?/emailAddress=ops@example.org/serialNumber=7"
        "/1.3.6.1.4.1.99999.1=odd/2.5.4.45=00ff"
    )
    assert (pair.common_name, pair.san) == (None, ())


def test_addresses_among_the_names() -> None:
    key = private_key("ec", 0)
    names = [x509.DNSName("shop.example.org"), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .sign(key, SHA256())
    )
    pair = read_key_pair(certificate.public_bytes(Encoding.PEM).decode(), make_pair("x.org").key)
    assert pair.san == ("shop.example.org", "192.0.2.1")
    assert pair.expires.year == 9999


def test_a_chain_is_kept_and_what_is_no_certificate_is_not() -> None:
    made, parent = make_pair("shop.example.org"), make_pair("ca.example.org", number=1)
    text = f"subject=/CN=shop\n{made.certificate}{made.key}\n# the chain\n{parent.certificate}"
    pair = read_key_pair(text, made.certificate + made.key)
    assert pair.certificate == made.certificate + parent.certificate
    assert pair.common_name == "shop.example.org"


@pytest.mark.parametrize(
    "text",
    ["", "certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "\U0001f512", "-----BEGIN"],
)
def test_what_cannot_be_read(text: str) -> None:
    assert problems(text, text) == {"certificate": [NO_CERTIFICATE], "key": [NO_KEY]}


def test_one_of_both_cannot_be_read() -> None:
    made = make_pair("shop.example.org")
    assert problems(made.certificate, made.certificate) == {"key": [NO_KEY]}
    assert problems(made.key, made.key) == {"certificate": [NO_CERTIFICATE]}
    assert problems(made.certificate[:200] + made.certificate[240:], made.key) == {"certificate": [NO_CERTIFICATE]}


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_encrypted_keys(form: PrivateFormat) -> None:
    made = make_pair("shop.example.org", kind="rsa")
    key = private_key("rsa", 0).private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")).decode()
    assert problems(made.certificate, key) == {"key": [ENCRYPTED]}


def test_keys_that_cannot_serve_tls() -> None:
    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert load_pem_private_key(other.encode(), password=None)
    assert problems(make_pair("shop.example.org").certificate, other) == {"key": [OTHER_KIND]}


def test_names_of_a_kind_that_the_library_does_not_take() -> None:
    """A bit string is one for an attribute that nobody uses; as a common name it was a 500."""
    made = make_pair("shop.example.org")
    der = ssl.PEM_cert_to_DER_cert(made.certificate)
    common_name = bytes.fromhex("0603550403") + b"\x0c"  # its OID, and the tag of a UTF8String
    assert common_name in der
    odd = ssl.DER_cert_to_PEM_cert(der.replace(common_name, common_name[:-1] + b"\x03"))
    assert problems(odd, made.key) == {"certificate": [NO_CERTIFICATE]}
