"""The page's cookies: a session's token and a visitor's mark, both signed; and the forms' tokens made from them."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from itsdangerous import BadSignature, Signer
from starlette.requests import Request
from starlette.responses import Response

from edge.page.secret import account_mark
from privacy.identity.secret import Secret

LANGUAGE = "jaga_language"
LANGUAGE_S = 365 * 86400


class Cookies:
    """Makes and reads them.

    Args:
        secret: 32 random bytes that the node keeps in its store; with another one every session ends.
        secure: whether the page is served over TLS; then browsers bind the cookies to this host as well.
    """

    def __init__(self, secret: Secret, *, secure: bool) -> None:
        prefix = "__Host-" if secure else ""
        self.session, self.visit = f"{prefix}jaga_session", f"{prefix}jaga_visit"
        self._secret = secret
        self._secure = secure

    def token(self, request: Request, name: str) -> str | None:
        """The token in a cookie that this node signed."""
        try:
            return self._signer(name).unsign(request.cookies.get(name, "")).decode("ascii")
        except (BadSignature, UnicodeDecodeError):
            return None

    def give(self, response: Response, name: str, token: str) -> None:
        """For as long as the browser runs; the store says when a session is over."""
        value = self._signer(name).sign(token).decode("ascii")
        response.set_cookie(name, value, path="/", httponly=True, secure=self._secure, samesite="strict")

    def take(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", httponly=True, secure=self._secure, samesite="strict")

    def remember_language(self, response: Response, language: str) -> None:
        response.set_cookie(
            LANGUAGE, language, LANGUAGE_S, path="/", httponly=True, secure=self._secure, samesite="strict"
        )

    def form_token(self, token: str) -> str:
        """What a form must send back to show that this page made it for this browser (CSRF)."""
        return hmac.digest(self._secret.reveal(), b"jaga form " + token.encode(), "sha256").hex()

    def is_form_token(self, given: str, token: str) -> bool:
        return hmac.compare_digest(given.encode(), self.form_token(token).encode())

    def account(self, name: str) -> bytes:
        """32 bytes that stand for a typed name in the count of failures."""
        return account_mark(self._secret, name)

    def _signer(self, name: str) -> Signer:
        return Signer(self._secret.reveal(), salt=name, key_derivation="hmac", digest_method=hashlib.sha256)


def new_token() -> str:
    """32 random bytes, as text."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """What the store knows a session by."""
    return hashlib.sha256(token.encode()).digest()
