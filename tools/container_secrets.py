"""Writes the secrets that docker-compose.yml asks for, each once (`make secrets`).

Runs on a server that has nothing but a container engine and Python 3.9 or newer:

    python3 -m tools.container_secrets [--kiosk-host db.example.org]

A file that is there is kept. To change a secret, follow docs/operations.md, delete its file and run this again.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
VARIABLE = "ATTENDANCE_SECRETS"

PASSWORDS = ("mongo_root_password", "mongo_service_password", "mongo_kiosk_password", "service_token")
# Each address: the password it carries, its user, the database that knows the user, and whether it leaves the machine.
ADDRESSES = {
    "mongo_admin_url": ("mongo_root_password", "root", "admin", False),
    "ledger_url": ("mongo_service_password", "service", "attendance", False),
    "kiosk_ledger_url": ("mongo_kiosk_password", "kiosk", "attendance", True),
}

# Compose gives a file to a container with the owner and rights that it has here, and no container runs as the owner:
# what a container reads must be readable by others. The folder, 0700, keeps the others of this machine out.
FOLDER_MODE, MOUNTED_MODE, KEPT_MODE = 0o700, 0o444, 0o600


class SecretsError(Exception):
    """The secrets cannot be written or do not fit each other; the message says what to do."""


def write_secrets(folder: Path, *, kiosk_host: str, mongo_tls: bool = False) -> list[Path]:
    """Write what is missing in `folder` and return it; SecretsError where what is there does not fit.

    `kiosk_host` is the server's name for the kiosks; with `mongo_tls` the containers' own addresses ask for TLS too.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)
    written = [path for path in map(folder.joinpath, PASSWORDS) if _write_once(path, secrets.token_urlsafe(32))]
    held = {name: _read(folder / name) for name in PASSWORDS}
    for name, address in _addresses(held, kiosk_host, mongo_tls).items():
        mode = KEPT_MODE if ADDRESSES[name][3] else MOUNTED_MODE
        if _write_once(folder / name, address, mode=mode):
            written.append(folder / name)
        else:
            _check_password(folder / name, held[ADDRESSES[name][0]])
    return written


def _addresses(held: dict[str, str], kiosk_host: str, mongo_tls: bool) -> dict[str, str]:
    found = {}
    inside = "?tls=true&tlsCAFile=/run/secrets/mongo_ca" if mongo_tls else ""
    for name, (password, user, database, leaves) in ADDRESSES.items():
        host, options = (kiosk_host, "?tls=true") if leaves else ("mongo", inside)
        found[name] = f"mongodb://{user}:{quote(held[password], safe='')}@{host}:27017/{database}{options}"
    return found


def _check_password(path: Path, password: str) -> None:
    if f":{quote(password, safe='')}@" not in _read(path):
        name = ADDRESSES[path.name][0]
        raise SecretsError(f"{path} carries another password than {name}: delete {path.name} and run this again")


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SecretsError(f"{path} cannot be read ({error.strerror}): run this as its owner") from error
    if not text:
        raise SecretsError(f"{path} is empty: delete it and run this again")
    return text


def _write_once(path: Path, text: str, *, mode: int = MOUNTED_MODE) -> bool:
    """Write a file that is not there, in one step, with its rights; False where it is there."""
    if path.exists():
        return False
    # No line end: MongoDB's image and a container's environment take the file as it is.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    return True


def note_folder(env_file: Path, folder: str) -> bool:
    """Tell compose where the secrets are, in the file that it reads; False where a line says so already."""
    text = env_file.read_text(encoding="utf-8") if env_file.exists() else ""
    if any(line.startswith(f"{VARIABLE}=") for line in text.splitlines()):
        return False
    ending = "" if not text or text.endswith("\n") else "\n"
    env_file.write_text(f"{text}{ending}{VARIABLE}={folder}\n", encoding="utf-8")
    return True


def main(argv: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """The command; prints names of files, never what is in them."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.container_secrets",
        description="Write the secrets that docker-compose.yml asks for; what is there is kept.",
        epilog="example: python3 -m tools.container_secrets --kiosk-host db.example.org",
    )
    parser.add_argument(
        "--kiosk-host", default=socket.gethostname(), metavar="NAME", help="name of this server, as the kiosks reach it"
    )
    parser.add_argument("--mongo-tls", action="store_true", help="the containers speak TLS to MongoDB too")
    arguments = parser.parse_args(argv)
    folder, env_file = root / "secrets", root / ".env"
    try:
        written = write_secrets(folder, kiosk_host=arguments.kiosk_host, mongo_tls=arguments.mongo_tls)
        noted = note_folder(env_file, "./secrets")
    except (SecretsError, OSError) as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 1
    for path in [*written, *([env_file] if noted else [])]:
        print(f"wrote {path.relative_to(root)}")
    if not written:
        print("secrets: all there, nothing changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
