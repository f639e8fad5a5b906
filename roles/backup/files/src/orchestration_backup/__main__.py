# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the package as a program: `python3 -m orchestration_backup`."""

from .cli import main

if __name__ == "__main__":
    main()
