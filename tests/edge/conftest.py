"""What the tests of a node's store and sensing share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from edge.store.connection import Connection
from edge.store.database import Database

KEY = bytes(range(32))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "node.db", KEY)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    connection = database.connect()
    yield connection
    connection.close()


@pytest.fixture
def plaintext() -> Callable[[Database], bytes]:
    """Every page of a store's file and of its write-ahead log, decrypted by hand, free pages too: what is really there.

    SQLCipher 4: pages of 4096 bytes, AES-256-CBC; the last 80 bytes of a page are 16 of IV and 64 of HMAC; page 1
    begins with 16 bytes of salt in clear. The log has a head of 32 bytes, and one of 24 for each page.
    """

    def opened(page: bytes, key: bytes, *, first: bool) -> bytes:
        cipher = Cipher(algorithms.AES(key), modes.CBC(page[-80:-64])).decryptor()
        return cipher.update(page[16 if first else 0 : -80]) + cipher.finalize()

    def decrypt(database: Database) -> bytes:
        content = database.path.read_bytes()
        pages = [
            opened(content[at : at + 4096], database.key.reveal(), first=at == 0) for at in range(0, len(content), 4096)
        ]
        wal = database.path.with_name(database.path.name + "-wal")
        log = wal.read_bytes() if wal.exists() else b""
        for at in range(32, len(log), 24 + 4096):
            page, number = log[at + 24 : at + 24 + 4096], int.from_bytes(log[at : at + 4], "big")
            pages.append(opened(page, database.key.reveal(), first=number == 1))
        return b"".join(pages)

    return decrypt
