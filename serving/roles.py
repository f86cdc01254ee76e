"""Who may do what with the management API: three roles, by API key."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from penstock.errors import UsageError
from penstock.settings import Settings

Role: TypeAlias = Literal["reader", "operator", "admin"]
#: Each role may do what those before it may.
ROLES: tuple[Role, ...] = get_args(Role)

LEAST_KEY_LENGTH = 16
#: What a page elsewhere cannot make a browser send without asking first, and the page's own buttons do send.
INTENT_HEADER = "x-requested-with"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``why_not_more`` says why the role is not a higher one, where that is not the key's doing."""

    name: str
    role: Role
    why_not_more: str = ""

    def may(self, role: Role) -> bool:
        """Whether what wants ``role`` is allowed."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    role: Role
    digest: bytes


class ApiKeys:
    """The configured keys, as SHA-256 digests: keys are long and random, so a slow hash would add nothing."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """``entries``: ``name:role:key`` or ``name:role:sha256:<hex digest>``.

        Raises:
            UsageError: an entry is not of this form, or a name has two keys of different roles; the key is not told.
        """
        self._entries = tuple(_entry(text, place) for place, text in enumerate(entries, 1))
        for entry in self._entries:
            if any(other.name == entry.name and other.role != entry.role for other in self._entries):
                raise UsageError(f"PENSTOCK_API_KEYS: {entry.name} has keys of different roles; one name has one role")

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __repr__(self) -> str:
        return f"ApiKeys({self.masked()})"

    def masked(self) -> str:
        """The names and their roles, without keys."""
        return ", ".join(f"{entry.name} ({entry.role})" for entry in self._entries) or "none"

    def identify(self, presented: bytes) -> Caller | None:
        """Whose key this is; None for a wrong one. Every key is compared, each in constant time."""
        digest = hashlib.sha256(presented).digest()
        found = None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = Caller(entry.name, entry.role)
        return found


def load_keys(settings: Settings) -> ApiKeys:
    """The keys of the settings and of their file.

    Raises:
        UsageError: an entry does not fit, or the file cannot be read.
    """
    entries = []
    if settings.api_keys is not None:
        entries = [part.strip() for part in settings.api_keys.get_secret_value().split(",") if part.strip()]
    if settings.api_keys_file is not None:
        entries += _lines(settings.api_keys_file)
    return ApiKeys(entries)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"PENSTOCK_API_KEYS_FILE: {path} cannot be read ({type(error).__name__})") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _entry(text: str, place: int) -> _Entry:
    name, _, rest = text.partition(":")
    role, _, key = rest.partition(":")
    if not _NAME.fullmatch(name):
        raise UsageError(f"PENSTOCK_API_KEYS: entry {place} does not begin with a name (letters, digits, . _ @ -)")
    known = next((known for known in ROLES if known == role), None)
    if known is None:
        raise UsageError(f"PENSTOCK_API_KEYS: the role of {name} is not one of {', '.join(ROLES)}")
    if key.startswith("sha256:"):
        digest = _DIGEST.fullmatch(key)
        if digest is None:
            raise UsageError(f"PENSTOCK_API_KEYS: the digest of {name} is not sha256: and 64 hex digits")
        return _Entry(name, known, bytes.fromhex(digest[1]))
    if len(key) < LEAST_KEY_LENGTH:
        raise UsageError(f"PENSTOCK_API_KEYS: the key of {name} has fewer than {LEAST_KEY_LENGTH} characters")
    return _Entry(name, known, hashlib.sha256(key.encode()).digest())


def presented_key(headers: Mapping[str, str]) -> bytes | None:
    """The key of ``Authorization: Bearer`` or ``X-API-Key`` (names in lower case), or None."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip().encode("latin-1")
    key = headers.get("x-api-key", "").strip()
    return key.encode("latin-1") if key else None


def unkeyed_caller(headers: Mapping[str, str], client: str, host: str) -> Caller:
    """Who calls where no keys are configured: this machine's people may do everything, others read.

    ``client`` is the peer's address, ``host`` the address that serving listens on. A web site that a person of this
    machine has open is not that person: what it can send lacks the intent header, and a name that it made lead here
    (DNS rebinding) is not this machine's. A proxy on this machine hides who calls, so nothing is taken through one.
    """
    if not is_loopback(host):
        why = f"no API keys are configured, and serving listens on {host}; set PENSTOCK_API_KEYS"
    elif not is_loopback(client) or any(name in headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
        why = "no API keys are configured, so changes are taken from this machine alone; set PENSTOCK_API_KEYS"
    elif not is_loopback(_host_name(headers.get("host", ""))):
        why = "no API keys are configured, so changes are taken under the name localhost alone; set PENSTOCK_API_KEYS"
    elif not headers.get(INTENT_HEADER):
        why = "without an API key a change needs the header X-Requested-With, which no foreign page can send"
    else:
        return Caller("loopback", "admin")
    return Caller("anonymous", "reader", why)


def changes_by(keys: ApiKeys, host: str) -> Literal["keys", "loopback", "off"]:
    """How changes are let in: with a key, from this machine, or not at all."""
    return "keys" if keys else "loopback" if is_loopback(host) else "off"


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name or an address) is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _host_name(header: str) -> str:
    """The host of a ``Host`` header without its port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header
