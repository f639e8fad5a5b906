"""Give a restic repository a key that opens at once. Tests call restic a thousand times, and each tries the password.

The format is restic's own: scrypt makes a key of the password, which encrypts the master key with AES-256-CTR and
Poly1305-AES.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

CHEAP = {"N": 2, "r": 8, "p": 1}


def derived(password: str, key: dict[str, object]) -> tuple[bytes, bytes, bytes]:
    """Return the three keys of a password: for encryption, and two for authentication."""
    numbers = {name.lower(): int(str(key[name])) for name in CHEAP}
    salt = base64.b64decode(str(key["salt"]))
    made = hashlib.scrypt(password.encode(), salt=salt, dklen=64, maxmem=2**30, **numbers)
    return made[:32], made[32:48], made[48:]


def transformed(key: bytes, nonce: bytes, text: bytes) -> bytes:
    """Encrypt or decrypt: with a counter both are the same."""
    return Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor().update(text)


def tag(k: bytes, r: bytes, nonce: bytes, text: bytes) -> bytes:
    """Return the authentication of a text."""
    # One block without chaining is what the definition asks for.
    once = Cipher(algorithms.AES(k), modes.ECB()).encryptor().update(nonce)  # noqa: S305
    return Poly1305.generate_tag(r + once, text)


def cheapen(repository: Path, password: str) -> None:
    """Replace the key of a repository."""
    (path,) = (repository / "keys").iterdir()
    key = json.loads(path.read_text())
    encryption, k, r = derived(password, key)
    sealed = base64.b64decode(key["data"])
    nonce, text = sealed[:16], sealed[16:-16]
    assert tag(k, r, nonce, text) == sealed[-16:]
    master = transformed(encryption, nonce, text)
    key |= CHEAP | {"salt": base64.b64encode(os.urandom(64)).decode()}
    encryption, k, r = derived(password, key)
    nonce = os.urandom(16)
    text = transformed(encryption, nonce, master)
    key["data"] = base64.b64encode(nonce + text + tag(k, r, nonce, text)).decode()
    content = json.dumps(key).encode()
    path.chmod(0o600)
    path.write_bytes(content)
    path.rename(path.with_name(hashlib.sha256(content).hexdigest()))
