"""Whose signature Content Credentials carry: a chain that the settings name, or the installation's own.

The own chain is made at the first need: a root and an intermediate whose keys are thrown away at once, and a leaf that
signs. Readers elsewhere call its issuer unknown; one from an authority of the C2PA trust list is known to all.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from novai_web.config import Settings
from novai_web.errors import NovaiError

CHAIN, KEY, ROOT = "chain.pem", "key.pem", "root.pem"
# Without a time stamp of an authority, a file is valid only as long as the certificate that signed it.
YEARS = {"root": 40, "intermediate": 35, "leaf": 30}
CLOCK_DAYS = 1  # another machine's clock may be behind
PEM_BYTES_MAX = 256 * 1024
# What readers ask of a leaf: to sign mail, and, since C2PA 2.1, to sign claims.
CLAIM_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


class ChainUnusable(NovaiError):
    """The certificates for Content Credentials cannot be used."""

    code = "credentials_chain"
    title = "Certificates cannot be used"


@dataclass(frozen=True)
class Chain:
    """PEM texts: the leaf and what is between it and its root, the leaf's key, and whom we trust when reading."""

    certificates: bytes
    key: bytes
    anchors: bytes
    algorithm: str
    signer: str
    until: datetime
    where: Path


def folder(settings: Settings) -> Path:
    return settings.data.absolute() / "credentials"


def chain(settings: Settings) -> Chain:
    """The chain these settings name, or the installation's own, which is made when there is none.

    Raises ChainUnusable with what to mend.
    """
    given, key = settings.credentials_chain, settings.credentials_key
    if bool(given) != bool(key):
        raise ChainUnusable("Set both NOVAI_CREDENTIALS_CHAIN and NOVAI_CREDENTIALS_KEY, or neither.")
    own = folder(settings)
    return _read(Path(given), Path(key), own) if given else _own(own)


@cache
def _own(own: Path) -> Chain:
    if not own.is_dir():
        _make(own)
    return _read(own / CHAIN, own / KEY, own)


@cache
def _read(certificates: Path, key: Path, own: Path) -> Chain:
    with _sentences(certificates, key):
        texts = _pem(certificates), _pem(key)
        found = x509.load_pem_x509_certificates(texts[0])
        private = load_pem_private_key(texts[1], None)
        if private.public_key() != found[0].public_key():
            raise ChainUnusable(f"{key} is not the key of the first certificate in {certificates}.")
        plain = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    is_own = certificates.parent == own
    root = own / ROOT
    # What the installation signed before it was given another chain stays known to it.
    anchors = (root.read_bytes() if root.exists() else b"") + (b"" if is_own else _above(found))
    algorithm, until = _algorithm(private, key), found[0].not_valid_after_utc
    return Chain(texts[0], plain, anchors, algorithm, _name(found[0]), until, certificates)


@contextmanager
def _sentences(certificates: Path, key: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise ChainUnusable(f"{problem.filename} cannot be read: {problem.strerror}.") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ChainUnusable(
            f"{certificates} must hold certificates and {key} a private key, both as PEM and not encrypted."
        ) from None


def _pem(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(PEM_BYTES_MAX)


def _above(found: list[x509.Certificate]) -> bytes:
    """The certificates that issued the leaf, as far as they were given."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in found[1:])


def _name(leaf: x509.Certificate) -> str:
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else leaf.subject.rfc4514_string()


def _algorithm(private: object, path: Path) -> str:
    if isinstance(private, EllipticCurvePrivateKey) and private.curve.name in _CURVES:
        return _CURVES[private.curve.name]
    if isinstance(private, Ed25519PrivateKey):
        return "ed25519"
    if isinstance(private, RSAPrivateKey):
        return "ps256"
    raise ChainUnusable(f"The key in {path} is of a kind that cannot sign. Use P-256, P-384, Ed25519 or RSA.")


def _make(own: Path) -> None:
    """Several processes may do this at once; the first whole folder wins."""
    own.parent.mkdir(parents=True, exist_ok=True)
    new = Path(mkdtemp(dir=own.parent, prefix=".credentials-"))  # for nobody but this user
    try:
        _write(new)
        new.rename(own)
    except OSError:
        if not own.is_dir():
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write(new: Path) -> None:
    installation = token_hex(4)
    keys = {which: generate_private_key(SECP256R1()) for which in YEARS}
    root = _certificate("root", "root", keys, installation)
    intermediate = _certificate("intermediate", "root", keys, installation)
    leaf = _certificate("leaf", "intermediate", keys, installation)
    plain = keys["leaf"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (new / ROOT).write_bytes(root.public_bytes(Encoding.PEM))
    (new / CHAIN).write_bytes(leaf.public_bytes(Encoding.PEM) + intermediate.public_bytes(Encoding.PEM))
    (new / KEY).touch(mode=0o600)
    (new / KEY).write_bytes(plain)


def _certificate(which: str, by: str, keys: dict[str, EllipticCurvePrivateKey], installation: str) -> x509.Certificate:
    public, issuer, is_leaf = keys[which].public_key(), keys[by], which == "leaf"
    began = datetime.now(UTC) - timedelta(days=CLOCK_DAYS)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(which, installation))
        .issuer_name(_subject(by, installation))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=365 * YEARS[which]))
        .add_extension(x509.BasicConstraints(ca=not is_leaf, path_length=None), critical=True)
        .add_extension(_usage(is_leaf), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    )
    if is_leaf:
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION, CLAIM_SIGNING])
        builder = builder.add_extension(uses, critical=False)
    return builder.sign(issuer, SHA256())


def _subject(which: str, installation: str) -> x509.Name:
    called = "NOVAI installation" if which == "leaf" else f"NOVAI {which} of installation"
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "NOVAI"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{called} {installation}"),
        ]
    )


def _usage(is_leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=is_leaf,
        key_cert_sign=not is_leaf,
        crl_sign=not is_leaf,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
