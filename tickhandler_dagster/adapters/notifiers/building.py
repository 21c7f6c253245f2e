"""The notifiers of a policy.

What belongs here: which class serves which type. What does not: where secrets come from
(`settings/loading.py` reads the variables that the policy names).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from tickhandler_dagster.adapters.notifiers.json_lines import FileNotifier
from tickhandler_dagster.adapters.notifiers.mail import MailNotifier
from tickhandler_dagster.adapters.notifiers.notifier import Notifier
from tickhandler_dagster.adapters.notifiers.slack import SlackNotifier
from tickhandler_dagster.adapters.notifiers.webhook import WebhookNotifier
from tickhandler_dagster.adapters.tardis_errors import Secret
from tickhandler_dagster.market.alerts.messages import Message
from tickhandler_dagster.market.alerts.policy import AlertPolicy, NotifierSpec, NotifierType
from tickhandler_dagster.market.errors import InvalidSetting

Secrets = Mapping[str, Secret]


class UnsetNotifier:
    """Stands for a notifier whose secret is not set: it keeps every message until it is.

    Args:
        name: The notifier's name.
        variable: The variable that is missing.
    """

    def __init__(self, name: str, variable: str) -> None:
        self._name = name
        self._variable = variable

    def send(self, message: Message) -> NoReturn:
        """Say what is missing.

        Raises:
            InvalidSetting: always.
        """
        raise InvalidSetting(
            self._variable,
            f"not set, and the notifier {self._name} needs it",
            was=f"message {message.message_id} waits",
            remedy="Set it in the environment or in .env",
        )


def build_notifiers(policy: AlertPolicy, secrets: Secrets) -> dict[str, Notifier]:
    """Every notifier of the policy by name. A missing secret stops one notifier, not the others.

    Args:
        policy: Who there is.
        secrets: What the variables named by the policy hold; those not set are missing.
    """
    return {name: _built(spec, secrets) for name, spec in policy.notifiers.items()}


def _built(spec: NotifierSpec, secrets: Secrets) -> Notifier:
    missing = [name for name in spec.secrets if name not in secrets]
    if missing:
        return UnsetNotifier(spec.name, missing[0])
    return _BUILD[spec.type](spec, secrets)


def _slack(spec: NotifierSpec, secrets: Secrets) -> Notifier:
    return SlackNotifier(spec.name, secrets[spec.url_env], timeout_s=spec.timeout_s)


def _webhook(spec: NotifierSpec, secrets: Secrets) -> Notifier:
    secret = secrets[spec.secret_env] if spec.secret_env else None
    url = secrets[spec.url_env]
    return WebhookNotifier(spec.name, url, secret=secret, timeout_s=spec.timeout_s)


def _mail(spec: NotifierSpec, secrets: Secrets) -> Notifier:
    return MailNotifier(
        spec, user=secrets.get(spec.user_env), password=secrets.get(spec.password_env)
    )


def _file(spec: NotifierSpec, _secrets: Secrets) -> Notifier:
    return FileNotifier(spec.name, Path(spec.path).expanduser())


_BUILD: Mapping[NotifierType, Callable[[NotifierSpec, Secrets], Notifier]] = MappingProxyType(
    {
        NotifierType.SLACK: _slack,
        NotifierType.WEBHOOK: _webhook,
        NotifierType.EMAIL: _mail,
        NotifierType.FILE: _file,
    }
)
