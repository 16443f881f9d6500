"""Which of a person's templates are in force.

Templates can only be compared with others of the same space: made by one model, and turned by one key where templates
are protected. ``Template.card_id`` names the space. A person's document may hold templates of several spaces side by
side; one setting of the ledger says which is in force, so that all people change over with one write.
"""

from __future__ import annotations

from dataclasses import replace

from attendance.types import Person


def shelved_apart(person: Person, space: str) -> Person:
    """The person with the templates of ``space`` as theirs, and all others shelved. Empty: none was ever noted."""
    everything = (*person.templates, *person.shelved)
    if not space or (not person.shelved and all(template.card_id == space for template in everything)):
        return person
    return replace(
        person,
        templates=tuple(template for template in everything if template.card_id == space),
        shelved=tuple(template for template in everything if template.card_id != space),
    )
