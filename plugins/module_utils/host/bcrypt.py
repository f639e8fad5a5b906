# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hashes of passwords with bcrypt, by the C library libcrypt that every Debian and Ubuntu has for its logins.

Python's own module crypt is gone since 3.13.
"""

from __future__ import annotations

import ctypes
import secrets

LIBRARY = "libcrypt.so.1"
PREFIX, COST, SALT = b"$2b$", 10, 16
LONGEST = 72
"""Bytes of a password that bcrypt uses."""


class BcryptError(Exception):
    """A password that can't be hashed."""


def hashed(password: str) -> str:
    """Return a new hash of a password; raise BcryptError."""
    library = _library()
    library.crypt_gensalt.restype = ctypes.c_char_p
    setting = library.crypt_gensalt(PREFIX, ctypes.c_ulong(COST), secrets.token_bytes(SALT), SALT)
    if not setting:
        raise BcryptError(f"{LIBRARY} does not know bcrypt")
    return _crypt(library, password, setting)


def matches(password: str, known: str) -> bool:
    """Return whether a text is a bcrypt hash of a password."""
    if not known.startswith(PREFIX.decode()):
        return False
    return secrets.compare_digest(_crypt(_library(), password, known.encode()).encode(), known.encode())


def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise BcryptError(f"the host lacks {LIBRARY}. Install the package libcrypt1") from error


def _crypt(library: ctypes.CDLL, password: str, setting: bytes) -> str:
    if "\0" in password or len(password.encode()) > LONGEST:
        raise BcryptError(f"the password has more than {LONGEST} bytes or a zero byte")
    library.crypt.restype = ctypes.c_char_p
    result = library.crypt(password.encode(), setting)
    if not result or not result.startswith(PREFIX):
        return ""
    return str(result.decode())
