"""Key sources behind one protocol: each gives the same 32 bytes whenever it is asked, on the machine it belongs to.

What a source gives is not the store's key, but what that is wrapped with (`edge.keys.wrapped`): a source can be
changed, or a passphrase, without touching the store.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privacy.identity.keys import write_private
from privacy.identity.secret import Secret

KEY_BYTES = SALT_BYTES = 32
MEMORY_KIB, ITERATIONS, LANES = 64 * 1024, 4, 1
"""Of Argon2id: about a second on a Pi 4; a guess costs whoever has the SD card as much."""
TOOL_TIMEOUT_S = 60.0
LEAST_PASSPHRASE = 12
OTP_PROGRAM = "rpi-otp-private-key"
"""Named here and not in the file beside the store: who can write there must not choose what root runs."""


class KeyUnavailable(RuntimeError):
    """A source does not give its key; the message says what to do. Nothing was changed."""


class KeySource(Protocol):
    """What every source is: a value that is kept in the clear beside the wrapped key, and gives 32 bytes."""

    def key(self) -> Secret:
        """The 32 bytes.

        Raises:
            KeyUnavailable: not here, or not now.
        """
        ...


class KeyFile(msgspec.Struct, frozen=True, tag="file", tag_field="source", forbid_unknown_fields=True):
    """A file beside the store. Protects a lost copy of the store alone; not a stolen card, which has both."""

    path: str

    def key(self) -> Secret:
        try:
            return _key_of(bytes.fromhex(Path(self.path).read_text("ascii").strip()), b"file")
        except (OSError, ValueError) as why:
            raise KeyUnavailable(
                f"key file {self.path} cannot be read ({why}): restore it / pulihkan berkasnya"
            ) from why

    @classmethod
    def make(cls, path: Path) -> KeyFile:
        """A new file; an old one of that name is not overwritten."""
        if path.exists():
            raise KeyUnavailable(f"{path} is there already: choose another name / pilih nama lain")
        write_private(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
        return cls(str(path.absolute()))


class SystemdCredential(
    msgspec.Struct, frozen=True, tag="systemd-credential", tag_field="source", forbid_unknown_fields=True
):
    """A credential that systemd decrypts for the service alone, with a key of the machine (its TPM, where it has one).

    Attributes:
        name: as in `LoadCredentialEncrypted=NAME:FILE` of the unit.
        file: the encrypted credential, for commands that are typed outside of the service, as root.
    """

    name: str
    file: str | None = None

    def key(self) -> Secret:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder is not None and (Path(folder) / self.name).exists():
            return _key_of((Path(folder) / self.name).read_bytes().strip(), b"systemd")
        if self.file is None:
            raise KeyUnavailable(
                f"no credential {self.name!r}: start the node by systemd with LoadCredentialEncrypted={self.name}:FILE "
                "/ jalankan node lewat systemd"
            )
        decrypted = _run(["systemd-creds", "decrypt", f"--name={self.name}", self.file, "-"], b"")
        return _key_of(decrypted.strip(), b"systemd")

    @classmethod
    def make(cls, name: str, file: Path) -> SystemdCredential:
        """Encrypt a new secret to this machine, in `file`."""
        secret = secrets.token_hex(KEY_BYTES).encode()
        file.parent.mkdir(parents=True, exist_ok=True)
        _run(["systemd-creds", "encrypt", f"--name={name}", "-", str(file)], secret)
        return cls(name, str(file.absolute()))


class RpiOtp(msgspec.Struct, frozen=True, tag="rpi-otp", tag_field="source", forbid_unknown_fields=True):
    """256 bits that are burnt into the Pi's processor: the card is of no use in another machine.

    Read with `rpi-otp-private-key` of the package rpi-eeprom (a Pi 4 or later). Whoever is root on this Pi can read
    them, and whoever boots this Pi with another card, unless its boot is locked.

    Attributes:
        salt: of the derivation, so that two stores of one Pi have different keys.
    """

    salt: bytes

    def key(self) -> Secret:
        printed = _run([OTP_PROGRAM], b"").decode("ascii", "replace").strip().lower()
        if not re.fullmatch(r"[0-9a-f]{64}", printed):
            raise KeyUnavailable(f"{OTP_PROGRAM} printed {len(printed)} characters, not 64 hexadecimal digits")
        if set(printed) == {"0"}:
            raise KeyUnavailable(
                "this Pi has no key in its OTP memory: `openssl rand -hex 32`, then `rpi-otp-private-key -w KEY` burns "
                "one, for good / isi dulu memori OTP"
            )
        return _key_of(bytes.fromhex(printed), b"rpi-otp", self.salt)

    @classmethod
    def make(cls) -> RpiOtp:
        source = cls(secrets.token_bytes(SALT_BYTES))
        source.key()
        return source


class Tang(msgspec.Struct, frozen=True, tag="tang", tag_field="source", forbid_unknown_fields=True):
    """A secret that can be recovered only where the site's Tang server answers (clevis, McCallum-Relyea exchange).

    A stolen Pi on another network has nothing. The server learns no key, and never sees the same exchange twice.

    Attributes:
        jwe: the secret, as `clevis encrypt tang` made it.
    """

    jwe: str

    def key(self) -> Secret:
        return _key_of(_run(["clevis", "decrypt"], self.jwe.encode()), b"tang")

    @classmethod
    def make(cls, url: str, thumbprint: str | None) -> Tang:
        """Bind a new secret to a server.

        Args:
            thumbprint: of the server's key, as `tang-show-keys` prints it there; None trusts whoever answers now.
        """
        if not re.fullmatch(r"https?://[^\s\"]+", url):
            raise KeyUnavailable(f"{url!r} is no address of a Tang server: write http://HOST[:PORT]")
        options = {"url": url} | ({"thp": thumbprint} if thumbprint else {})
        command = ["clevis", "encrypt", "tang", msgspec.json.encode(options).decode()]
        jwe = _run(command if thumbprint else [*command, "-y"], secrets.token_hex(KEY_BYTES).encode())
        return cls(jwe.decode("ascii").strip())


class Passphrase(msgspec.Struct, frozen=True, tag="passphrase", tag_field="source", forbid_unknown_fields=True):
    """Words that somebody types when the node starts; through Argon2id (RFC 9106)."""

    salt: bytes
    memory_kib: int = MEMORY_KIB
    iterations: int = ITERATIONS
    lanes: int = LANES

    def key(self) -> Secret:
        return self.key_of(ask("Passphrase of this node / Kata sandi node ini: "))

    def key_of(self, words: Secret) -> Secret:
        """What these words give."""
        kdf = Argon2id(
            salt=self.salt,
            length=KEY_BYTES,
            iterations=self.iterations,
            lanes=self.lanes,
            memory_cost=self.memory_kib,
        )
        return Secret(kdf.derive(words.reveal()))

    @classmethod
    def make(cls, words: Secret) -> Passphrase:
        if len(words.reveal().decode()) < LEAST_PASSPHRASE:
            raise KeyUnavailable(f"a passphrase has at least {LEAST_PASSPHRASE} characters: take four words or more")
        return cls(secrets.token_bytes(SALT_BYTES))


Source = KeyFile | SystemdCredential | RpiOtp | Tang | Passphrase
SourceName = Literal["file", "systemd-credential", "rpi-otp", "tang", "passphrase"]


def ask(prompt: str) -> Secret:
    """Words from whoever sits there: at the terminal, or by systemd's agents while the machine starts.

    Raises:
        KeyUnavailable: nobody can be asked.
    """
    if sys.stdin.isatty():
        return Secret(getpass.getpass(prompt).encode())
    if shutil.which("systemd-ask-password"):
        return Secret(_run(["systemd-ask-password", "--timeout=0", prompt], b"", timeout_s=None).rstrip(b"\n"))
    raise KeyUnavailable("nobody can be asked for the passphrase: type the command at a terminal / ketik di terminal")


def _key_of(secret: bytes, what: bytes, salt: bytes = b"") -> Secret:
    if len(secret) < KEY_BYTES:
        raise KeyUnavailable(f"a secret of {len(secret)} bytes is too short, it has at least {KEY_BYTES}")
    return Secret(HKDF(SHA256(), KEY_BYTES, salt, b"jaga key source 1 " + what).derive(secret))


def _run(command: list[str], given: bytes, *, timeout_s: float | None = TOOL_TIMEOUT_S) -> bytes:
    """What a tool prints; its complaint becomes the error."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=timeout_s, check=True)
    except FileNotFoundError as why:
        raise KeyUnavailable(
            f"{command[0]} is not installed: sudo apt-get install {PACKAGE.get(command[0], command[0])}"
        ) from why
    except subprocess.CalledProcessError as why:
        said = why.stderr.decode("utf-8", "replace").strip().splitlines()
        raise KeyUnavailable(
            f"{' '.join(command[:2])} failed: {said[-1] if said else f'status {why.returncode}'}"
        ) from why
    except subprocess.TimeoutExpired as why:
        raise KeyUnavailable(
            f"{' '.join(command[:2])} gave no answer in {timeout_s:.0f} s: is the server there?"
        ) from why
    return done.stdout


PACKAGE = {"clevis": "clevis", "systemd-creds": "systemd", "rpi-otp-private-key": "rpi-eeprom"}
