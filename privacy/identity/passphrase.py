"""Private key under a passphrase: PKCS #8 with scrypt (RFC 7914) and AES-256-CBC, which OpenSSL reads, too.

`cryptography` itself would write PBKDF2 with 2048 iterations, which a graphics card tries out by the million.
"""

from __future__ import annotations

import base64
import os
import textwrap

from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

ENCRYPTED_PEM = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
COST, BLOCK_SIZE, PARALLEL = 2**14, 8, 5
"""scrypt's N, r and p: 16 MiB, five times (OWASP's password storage cheat sheet). OpenSSL refuses more memory."""
SALT_BYTES, KEY_BYTES, IV_BYTES = 16, 32, 16
SEQUENCE, INTEGER, OCTET_STRING, OBJECT_IDENTIFIER = 0x30, 0x02, 0x04, 0x06
PBES2 = bytes.fromhex("2a864886f70d01050d")
SCRYPT = bytes.fromhex("2b06010401da47040b")
AES_256_CBC = bytes.fromhex("60864801650304012a")


def encrypted_pem(key: Ed25519PrivateKey, passphrase: bytes) -> bytes:
    """The key as PEM (EncryptedPrivateKeyInfo of RFC 5958)."""
    salt, initial = os.urandom(SALT_BYTES), os.urandom(IV_BYTES)
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pad = padding.PKCS7(8 * IV_BYTES).padder()
    secret = Scrypt(salt, KEY_BYTES, COST, BLOCK_SIZE, PARALLEL).derive(passphrase)
    cipher = Cipher(algorithms.AES256(secret), modes.CBC(initial)).encryptor()
    closed = cipher.update(pad.update(plain) + pad.finalize()) + cipher.finalize()
    costs = b"".join(_integer(number) for number in (COST, BLOCK_SIZE, PARALLEL, KEY_BYTES))
    derivation = _algorithm(SCRYPT, _tagged(SEQUENCE, _tagged(OCTET_STRING, salt) + costs))
    scheme = _algorithm(AES_256_CBC, _tagged(OCTET_STRING, initial))
    der = _tagged(SEQUENCE, _algorithm(PBES2, _tagged(SEQUENCE, derivation + scheme)) + _tagged(OCTET_STRING, closed))
    lines = textwrap.wrap(base64.b64encode(der).decode("ascii"), 64)
    return "\n".join([ENCRYPTED_PEM.decode(), *lines, "-----END ENCRYPTED PRIVATE KEY-----", ""]).encode("ascii")


def _algorithm(identifier: bytes, parameters: bytes) -> bytes:
    return _tagged(SEQUENCE, _tagged(OBJECT_IDENTIFIER, identifier) + parameters)


def _integer(number: int) -> bytes:
    return _tagged(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _tagged(tag: int, content: bytes) -> bytes:
    """Tag, length and content in DER."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x81, size])
    return bytes([tag]) + length + content
