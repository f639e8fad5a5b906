# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Back up, check, restore and verify an orchestration host: its databases, files, secrets and configuration.

The program needs Python 3.10 or newer, Docker and restic, and age or gpg for encrypted tar archives.
The host has the package as one zip file, which also contains the collection's `versions.py`.
"""
