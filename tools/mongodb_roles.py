"""Makes the roles and users of a MongoDB ledger (``python -m tools.mongodb_roles --help``).

`ROLES` is the table of docs/mongodb.md; a test holds the page to it. Running it again brings roles and passwords up to
date. Addresses and passwords are read from files, since a command line is seen by everybody on the machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

Actions = Sequence[str]
Database = Any

READ = ("find",)
EVERY_COLLECTION = ""
ROLES: Mapping[str, Mapping[str, Actions]] = {
    "attendance_kiosk": {
        "people": READ,
        "punches": ("find", "insert"),
        "attendance": ("find", "insert", "update", "remove"),
        "counting": ("find", "insert", "update"),
        "unfinished": ("find", "insert", "remove"),
        "settings": READ,
        "cameras": READ,
        "sites": READ,
        "health": ("find", "insert", "update"),
        "schema": READ,
    },
    "attendance_operator": {
        EVERY_COLLECTION: (
            "find",
            "insert",
            "update",
            "remove",
            "createCollection",
            "createIndex",
            "collMod",
            "listCollections",
            "listIndexes",
        ),
    },
    "attendance_reader": {"attendance": READ, "punches": READ, "cameras": READ, "sites": READ},
}
SHORT = {name.removeprefix("attendance_"): name for name in ROLES}


def apply_roles(database: Database) -> None:
    """Make the roles in a database, or bring them up to date."""
    for role, collections in ROLES.items():
        privileges = [
            {"resource": {"db": database.name, "collection": collection}, "actions": list(actions)}
            for collection, actions in collections.items()
        ]
        _create_or_update(database, "Role", role, privileges=privileges, roles=[])


def apply_user(database: Database, user: str, password: str, *, role: str) -> None:
    """Make a user of one role in a database, or give an existing one this role and password."""
    _create_or_update(database, "User", user, pwd=password, roles=[{"role": role, "db": database.name}])


def _create_or_update(database: Database, what: str, name: str, **values: Any) -> None:
    known = database.command("rolesInfo" if what == "Role" else "usersInfo", name)
    verb = "update" if known["roles" if what == "Role" else "users"] else "create"
    database.command(f"{verb}{what}", name, **values)


def _secret(text: str) -> str:
    if not text.startswith("@"):
        raise argparse.ArgumentTypeError("expected @FILE, the file that holds it")
    try:
        return Path(text[1:]).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text[1:]} cannot be read: {error.strerror}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Apply the table; 1 where the server refused."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.mongodb_roles",
        description="Make the roles of a MongoDB ledger, and users that have one of them.",
        epilog="example: python -m tools.mongodb_roles --admin @admin_url --user kiosk kiosk-1 @kiosk_password",
    )
    parser.add_argument("--admin", required=True, metavar="@FILE", help="address of who may make roles and users")
    parser.add_argument("--database", default="attendance", help="the ledger's database (attendance)")
    parser.add_argument(
        "--user",
        action="append",
        nargs=3,
        default=[],
        metavar=("ROLE", "NAME", "@FILE"),
        help=f"a user, with the file of the password; ROLE is one of {', '.join(SHORT)}; may be repeated",
    )
    arguments = parser.parse_args(argv)
    unknown = [role for role, _, _ in arguments.user if role not in SHORT]
    if unknown:
        parser.error(f"there is no role {unknown[0]}: use one of {', '.join(SHORT)}")
    try:
        url = _secret(arguments.admin)
        users = [(SHORT[role], name, _secret(password)) for role, name, password in arguments.user]
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    return _apply(url, arguments.database, users)


def _apply(url: str, name: str, users: Sequence[tuple[str, str, str]]) -> int:
    try:
        with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=5000) as client:
            apply_roles(client[name])
            for role, user, password in users:
                apply_user(client[name], user, password, role=role)
    except (OperationFailure, PyMongoError) as error:
        reason = str(error).partition(", full error:")[0]
        print(f"python -m tools.mongodb_roles: the server refused: {reason}", file=sys.stderr)
        return 1
    print(f"{len(ROLES)} roles and {len(users)} users in {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
