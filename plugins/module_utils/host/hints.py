# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to do about a fault that both a deployment and the doctor find. It knows neither of them."""

from __future__ import annotations

OTHER_LOGIN = (
    "Kestra's database has another login than kestra_username and kestra_password. If it was changed in Kestra, restart"
    " Kestra, which sets that of the inventory again, or set kestra_password to the new one"
)
