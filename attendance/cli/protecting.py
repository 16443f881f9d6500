"""``protect show|new-key|rotate``: templates under a secret key."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from attendance.app import App
from attendance.cli.base import EXIT_OK, Context, add_command, add_group
from attendance.cli.configured import open_existing
from attendance.cli.swapping import conclude, decide, noted, prepare_with
from attendance.errors import UsageError
from attendance.space import Space


def register(commands: Any) -> None:
    """Add the group."""
    group = add_group(commands, "protect", summary="templates under a secret key, and another key for them",
                      example="python -m attendance protect rotate")  # fmt: skip
    add_command(group, "show", summary="which key the templates are protected with, and which keys are held here",
                example="python -m attendance protect show", command=show)  # fmt: skip
    new_key = add_command(group, "new-key", summary="make a key, in a new file or behind those of a file",
                          example="python -m attendance protect new-key template.key", command=new_key_of)  # fmt: skip
    new_key.add_argument("file", metavar="FILE", type=Path)
    rotate = add_command(group, "rotate", summary="give every template the newest key of model.template_key_file",
                         example="python -m attendance protect rotate", command=rotate_key)  # fmt: skip
    rotate.add_argument("--off", action="store_true", help="store templates without a key from now on")
    rotate.add_argument("--keep", action="store_true", help="keep those of the former key until models finish")


def show(arguments: argparse.Namespace, context: Context) -> int:
    """Fingerprints, never keys."""
    with open_existing(context) as app:
        in_force = app.space
        held = [key.fingerprint for key in app.template_keys]
    key = in_force.key if in_force.key else None
    context.say(f"templates of {in_force.model}, {'protected with key ' + key if key else 'stored without a key'}")
    context.say(f"keys held here: {', '.join(held) if held else 'none (model.template_key_file)'}")
    if key is not None and key not in held:
        context.say("the key in force is not held here: nobody can be recognised or enrolled with this configuration")
    context.write_json({"model": in_force.model, "key": key, "held": held})
    return EXIT_OK


def new_key_of(arguments: argparse.Namespace, context: Context) -> int:
    """Make a key; a key that is there stays."""
    from attendance.protect import add_key, read_keys

    key = add_key(arguments.file)
    count = len(read_keys(arguments.file))
    context.say(f"key {key.fingerprint} is in {arguments.file}, mode 0600, one of {count}: keep two copies, "
                "apart from the backups; whoever has it and the templates has both")  # fmt: skip
    context.write_json({"file": str(arguments.file), "fingerprint": key.fingerprint, "keys": count})
    return EXIT_OK


def rotate_key(arguments: argparse.Namespace, context: Context) -> int:
    """Turn every template by the new key, switch, and delete those of the former one."""
    from attendance.swap import Rotator, finish

    started = time.monotonic()
    with open_existing(context) as app:
        present = noted(app)
        target = _target(app, present, off=arguments.off)
        rotator = Rotator(app.template_key(present), app.template_key(target),
                          model=present.model, dimension=app.card.dimension)  # fmt: skip
        prepared = prepare_with(context, app, rotator, target)
        other = app.turned(target)
        outcome = decide(context, app, other, prepared, drop=False, wanted=True)
        deleted = 0 if arguments.keep else finish(app.ledger)
        if not arguments.keep:
            context.say(f"{deleted} templates of the former key deleted; backups from before still hold them")
    return conclude(context, outcome, started, {"deleted": deleted}, keeps_old=arguments.keep)


def _target(app: App, present: Space, *, off: bool) -> Space:
    """The space of the newest key held, or of none."""
    if off:
        target = Space(present.model)
    elif not app.template_keys:
        raise UsageError(
            "there is no key to rotate to: `protect new-key FILE`, and name FILE as model.template_key_file"
        )
    else:
        target = Space(present.model, app.template_keys[-1].fingerprint)
    if target == present:
        what = "the newest key of model.template_key_file" if present.key else "no key"
        raise UsageError(f"the templates are stored with {what} already: add one with `protect new-key FILE`")
    return target
