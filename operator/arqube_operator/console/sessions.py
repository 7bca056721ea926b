"""Who may write: the token, the sessions that stand for it, the keys of forms, and the pause after a wrong token.

A session is a signed cookie and nothing is kept of it. The keys are made from a secret of this process and the token,
so that a restart or another token ends all sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

import structlog

SESSION_S: Final = 3600
"""Seconds until one must sign in again."""
FEWEST_CHARACTERS: Final = 16
"""A shorter token could be guessed, and is taken for none."""
LONGEST_PAUSE_S: Final = 60.0
"""Most seconds after a wrong token during which no other is looked at."""

log = structlog.get_logger(__name__)


class Throttle:
    """Pauses after wrong tokens, for everybody: 1 s after the first, then twice as long each time."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds from ``now`` (monotonic) until a token is looked at again; 0 when it is at once."""
        return max(0.0, self._until - now)

    def failed(self, now: float) -> None:
        """A token was wrong at ``now``."""
        self._until = now + min(LONGEST_PAUSE_S, 2.0 ** min(self._failures, 10))
        self._failures += 1

    def succeeded(self) -> None:
        """A token was right."""
        self._failures = 0


class Sessions:
    """Makes and checks cookies and the keys of forms.

    Args:
        token_file: File that holds the token; None when there is none, so that nobody may write.
    """

    def __init__(self, token_file: Path | None) -> None:
        self._token_file = token_file
        self._secret = secrets.token_bytes(32)

    @property
    def possible(self) -> bool:
        """Whether there is a token to sign in with."""
        return self._token() is not None

    def begin(self, token: str, now: float) -> str | None:
        """The cookie of a new session that begins at ``now`` (Unix seconds); None when ``token`` is wrong."""
        expected = self._token()
        if expected is None or not hmac.compare_digest(_digest(token), _digest(expected)):
            return None
        body = f"{secrets.token_hex(16)}.{int(now) + SESSION_S}"
        return f"{body}.{self._sign(expected, 'session', body)}"

    def is_valid(self, cookie: str, now: float) -> bool:
        """Whether ``cookie`` is of a session that lasts at ``now`` (Unix seconds)."""
        body, _, signature = cookie.rpartition(".")
        token = self._token()
        if token is None or not _same(signature, self._sign(token, "session", body)):
            return False
        return int(body.partition(".")[2]) > now  # Its form is ours, as the signature is.

    def form_key(self, cookie: str) -> str:
        """What a form must hold that is sent with ``cookie``: no other site can know it."""
        return self._sign(self._token() or "", "form", cookie)

    def is_form_key(self, key: str, cookie: str) -> bool:
        """Whether ``key`` is that of ``cookie``."""
        return bool(cookie) and _same(key, self.form_key(cookie))

    def _token(self) -> str | None:
        """The token as it is now: a changed Secret is used without a restart."""
        if self._token_file is None:
            return None
        try:
            token = self._token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            log.warning("console.no_token", file=str(self._token_file), error=type(error).__name__)
            return None
        if len(token) < FEWEST_CHARACTERS:
            log.warning("console.short_token", file=str(self._token_file), fewest_characters=FEWEST_CHARACTERS)
            return None
        return token

    def _sign(self, token: str, purpose: str, text: str) -> str:
        key = hmac.digest(self._secret, token.encode(), "sha256")
        return hmac.digest(key, f"{purpose}:{text}".encode(), "sha256").hex()


def visitor() -> str:
    """A cookie of somebody who is about to sign in; it says nothing."""
    return secrets.token_hex(16)


def _digest(text: str) -> bytes:
    """Of one length whatever the text's, so that a comparison does not tell the token's."""
    return hashlib.sha256(text.encode(errors="replace")).digest()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
