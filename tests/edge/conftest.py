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
    """Every page of a store's file, decrypted by hand, free pages too: what is really in there.

    SQLCipher 4: pages of 4096 bytes, AES-256-CBC; the last 80 bytes of a page are 16 of IV and 64 of HMAC; page 1
    begins with 16 bytes of salt in clear.
    """

    def decrypt(database: Database) -> bytes:
        content = database.path.read_bytes()
        clear = b""
        for at in range(0, len(content), 4096):
            page = content[at : at + 4096]
            cipher = Cipher(algorithms.AES(database.key), modes.CBC(page[-80:-64])).decryptor()
            clear += cipher.update(page[16 if at == 0 else 0 : -80]) + cipher.finalize()
        return clear

    return decrypt
