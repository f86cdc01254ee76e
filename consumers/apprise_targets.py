"""Targets behind Apprise URLs: Slack, e-mail, webhooks and some hundred others. Imported where a URL is set."""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any

from consumers.notifier import Severity
from penstock.errors import DependencyError, UsageError

MISSING = "alerts to people need Apprise: pip install 'penstock[notify]'"
#: Parts of an address that are shorter say nothing secret, and would tear words of an error apart.
_SECRET_LENGTH = 6
_KINDS: dict[Severity, str] = {"info": "info", "warning": "warning", "critical": "failure"}


class AppriseTarget:
    """One Apprise URL."""

    def __init__(self, url: str, service: Any, apprise: Any) -> None:
        self._url, self._service, self._apprise = url, service, apprise
        masked = service.url(privacy=True)
        scheme = masked.partition(":")[0]
        self.name = f"{scheme}-{hashlib.sha256(masked.encode()).hexdigest()[:8]}"

    def send(self, title: str, body: str, severity: Severity) -> str:
        """See ``Target.send``. What Apprise says of a failure comes back without the parts of the URL."""
        try:
            sender = self._apprise.Apprise(asset=self._service.asset)
            sender.add(self._service)
            with self._apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:
                taken = bool(sender.notify(body=body, title=title, notify_type=_KINDS[severity], body_format="text"))
                why = said.getvalue()
        except Exception as error:  # noqa: BLE001 - some hundred plug-ins; one that fails must not end the role
            taken, why = False, f"{type(error).__name__}: {error}"
        return "" if taken else self._masked(" ".join(why.split())) or "not taken"

    def _masked(self, text: str) -> str:
        for part in sorted(re.split(r"[:/@?&=#,+]+", self._url), key=len, reverse=True):
            if len(part) >= _SECRET_LENGTH:
                text = text.replace(part, "****")
        return text[:500]


def apprise_targets(urls: str, setting: str) -> list[AppriseTarget]:
    """The targets of comma-separated ``urls``, which ``setting`` holds.

    Raises:
        UsageError: one is not an Apprise URL (named by its scheme alone: the rest may be secret).
        DependencyError: Apprise is not installed.
    """
    try:
        import apprise
        from apprise.utils.parse import parse_urls
    except ImportError as error:
        raise DependencyError(f"{setting} is set; {MISSING} ({error})") from error
    apprise.logger.propagate = False  # it may name addresses; what we log is masked
    if not apprise.logger.handlers:
        apprise.logger.addHandler(logging.NullHandler())
    asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY, async_mode=False)
    split: Any = parse_urls  # it has no types
    targets = []
    for url in split(urls) or [urls]:
        service = apprise.Apprise.instantiate(url, asset=asset)
        if service is None:
            scheme = url.partition(":")[0] if "://" in url else "no scheme"
            raise UsageError(f"{setting}: not a URL that Apprise knows ({scheme}); write for instance json://host:port")
        targets.append(AppriseTarget(url, service, apprise))
    return targets
