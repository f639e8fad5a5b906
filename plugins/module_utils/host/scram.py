# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SCRAM-SHA-256 verifiers, as PostgreSQL stores them (RFC 5803, RFC 7677): of a password, and compared with one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import stringprep
import unicodedata

VERIFIER = re.compile(
    r"SCRAM-SHA-256\$(?P<iterations>[1-9]\d*):(?P<salt>[\w+/=]+)\$(?P<stored>[\w+/=]+):(?P<server>[\w+/=]+)", re.ASCII
)
MOST_ITERATIONS = 1_000_000
"""More would take longer than a look at the host may."""
USUAL_ITERATIONS = 4096
"""PostgreSQL's default."""

PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def prepare(password: str) -> str:
    """Return a password as SASLprep (RFC 4013) makes it, or as it is where that refuses it, as PostgreSQL does."""
    if password.isascii():
        return password
    # U+200B is in both tables; for PostgreSQL it is a space.
    spaced = "".join(" " if stringprep.in_table_c12(letter) else letter for letter in password)
    mapped = "".join(letter for letter in spaced if not stringprep.in_table_b1(letter))
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared or any(table(letter) for letter in prepared for table in PROHIBITED):
        return password
    if any(stringprep.in_table_d1(letter) for letter in prepared):
        ends = stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])
        if not ends or any(stringprep.in_table_d2(letter) for letter in prepared):
            return password
    return prepared


def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """Return the key that a server stores to know the client, and the one by which it makes itself known."""
    salted = hashlib.pbkdf2_hmac("sha256", prepare(password).encode(), salt, iterations)
    client, server = (hmac.new(salted, text, hashlib.sha256).digest() for text in (b"Client Key", b"Server Key"))
    return hashlib.sha256(client).digest(), server


def verifier_of(password: str) -> str:
    """Return a verifier of a password. Its salt is random, because a server shows it before a login."""
    salt = os.urandom(16)
    keys = _keys(password, salt, USUAL_ITERATIONS)
    salt_text, stored, server = (base64.b64encode(value).decode() for value in (salt, *keys))
    return f"SCRAM-SHA-256${USUAL_ITERATIONS}:{salt_text}${stored}:{server}"


def compare(verifier: str, password: str) -> str:
    """Return C(current) where the verifier is that of the password, C(other) where it is not, else C(unknown).

    Anything but a SCRAM verifier, such as an MD5 hash or an empty text, counts as different.
    """
    match = VERIFIER.fullmatch(verifier)
    if not match:
        return "other"
    iterations = int(match["iterations"])
    if iterations > MOST_ITERATIONS:
        return "unknown"
    try:
        salt, stored = (base64.b64decode(match[part], validate=True) for part in ("salt", "stored"))
    except binascii.Error:
        return "other"
    return "current" if hmac.compare_digest(_keys(password, salt, iterations)[0], stored) else "other"
