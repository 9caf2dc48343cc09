"""A real Tang server (Debian's tangd) on loopback, as systemd's socket would start it: one process a connection."""

import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

TANGD, KEYGEN = Path("/usr/libexec/tangd"), Path("/usr/libexec/tangd-keygen")
MISSING = not TANGD.exists()


class TangServer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        subprocess.run([KEYGEN, folder], check=True, capture_output=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def thumbprint(self) -> str:
        """Of its signing key, as `tang-show-keys` works it out on the server."""
        (key,) = (path for path in self.folder.glob("*.jwk") if b'"verify"' in path.read_bytes())
        made = subprocess.run(
            ["jose", "jwk", "thp", "-a", "S256", "-i", str(key)], capture_output=True, text=True, check=True
        )
        return made.stdout.strip()

    def close(self) -> None:
        with suppress(OSError):  # it is closed already
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept, which would take one more
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                subprocess.run([TANGD, self.folder], stdin=connection, stdout=connection, timeout=20, check=False)
