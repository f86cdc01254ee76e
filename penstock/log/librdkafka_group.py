"""Leaving a group at once: librdkafka leaves a static member in it until its session ends."""

from __future__ import annotations

import structlog
from kafka.admin import MemberToRemove
from kafka.errors import FencedInstanceIdError, GroupIdNotFoundError, NoError, UnknownMemberIdError

from penstock.errors import LogError
from penstock.log.kafka_admin import admin_client
from penstock.log.kafka_options import KafkaOptions

_log = structlog.get_logger()


def leave_group(options: KafkaOptions, group: str, member: str, member_id: str) -> None:
    """Take ``member`` out of ``group``, unless a namesake has its place. Where that fails, its session has to end."""
    mine = MemberToRemove(member_id=member_id, group_instance_id=member)
    try:
        with admin_client(options) as admin:
            results = admin.remove_group_members(group, [mine])
    except GroupIdNotFoundError:
        return
    except LogError as error:
        _log.warning("left without saying so", group=group, member=member, why=str(error))
        return
    for found in results.values():
        if found not in (NoError, UnknownMemberIdError, FencedInstanceIdError):
            _log.warning("left without saying so", group=group, member=member, why=found.__name__)
