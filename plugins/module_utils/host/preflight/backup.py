# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for backups."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import Rule, Situation
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import ranges


def _backup(situation: Situation) -> Iterator[str]:
    encryption = situation.text("backup_encryption", "none")
    if encryption != "none" and not situation.items("backup_recipients"):
        yield (
            f"backup_recipients: is empty, so no key decrypts what {encryption} encrypts. Set backup_recipients to a"
            " public key, or backup_encryption to 'none'."
        )
    directory = situation.text("backup_directory")
    if situation.given("backup_directory") and not directory.startswith("/"):
        yield f"backup_directory: '{directory}' is not an absolute path. Set one that begins with /."
    schedule = situation.text("backup_schedule")
    reason = " ".join(str(situation.host.get("calendars", {}).get(schedule, "")).split()) if schedule else ""
    if reason:
        yield (
            f"backup_schedule: systemd does not read '{schedule}' ({reason}). Set a calendar expression of"
            " systemd.time(7), such as '*-*-* 02:30:00'."
        )
    if situation.host.get("interrupted_restore"):
        yield (
            f"backup: a restore on this host was interrupted. Run '{situation.root}/bin/orchestration-backup recover'"
            " on the host, which restores the previous state, or run restore.yml, which begins with that."
        )


def _unencrypted(situation: Situation) -> Iterator[str]:
    recipients, encryption = situation.items("backup_recipients"), situation.text("backup_encryption", "none")
    if "backup" in situation.deployed() and recipients and encryption == "none":
        yield (
            "backup_encryption: is 'none', so the archives are not encrypted for backup_recipients. Set"
            " backup_encryption to 'age' or 'gpg'."
        )


DEPLOYMENT: tuple[Rule, ...] = (ranges(("backup_keep", 1, None), ("backup_keep_days", 0, None)), _backup)
REMOVAL: tuple[Rule, ...] = ()
WARNINGS: tuple[Rule, ...] = (_unencrypted,)
