"""Keeping the derived attendance rows right on a server without transactions.

Rows are derived from the punches as they are, never from other rows, and a writer looks again after it has written: it
is done when the rows of its stretch are those that its punches give. So whoever writes last has seen every punch that
was inserted before, and corrects what a slower writer left. What a writer that was killed left undone stands in
``unfinished``, where it was noted before the first write; the next one that opens the ledger or asks for attendance
does it. ``counting`` says per site by which rules its rows were made; ``asked`` is raised when all must be counted
anew, and ``counted`` is the request that was last fulfilled.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import NamedTuple

from pymongo import DeleteOne, InsertOne, ReplaceOne, WriteConcern
from pymongo.errors import BulkWriteError, DuplicateKeyError

from attendance.ledger.counting import Chain, chain_of, counted_in_order, order_of
from attendance.ledger.mongo import documents
from attendance.ledger.mongo.client import Collections, Document, Documents
from attendance.ledger.mongo.stretches import LAST_MOMENT, stretch_around
from attendance.ledger.rows import Seen
from attendance.ledger.rules import Rules, SiteRules

logger = logging.getLogger(__name__)

Change = DeleteOne | InsertOne[Document] | ReplaceOne[Document]

_ATTEMPTS = 100
_ATTEMPTS_AGAINST_OTHER_RULES = 5
_BATCH = 1000
_DUPLICATE = 11000
_WRITER_GONE = timedelta(hours=1)
"""After this time the writer of a note is taken for dead, and the note is taken away once its work is done."""


class Around(NamedTuple):
    """A stretch of punches: those that count, the rows there are, whose they are, and what its site is counted by."""

    counts: dict[str, Seen]
    rows: dict[str, Document]
    name: str | None
    state: Document | None


# After the punches, so that what is joined is never older than they are.
_WITH_ROWS: list[Document] = [
    {"$project": documents.SEEN},
    {"$lookup": {"from": "attendance", "localField": "_id", "foreignField": "_id", "as": "row"}},
    {"$lookup": {"from": "people", "localField": "subject_ref", "foreignField": "subject_ref", "as": "person"}},
    {"$lookup": {"from": "counting", "localField": "site", "foreignField": "_id", "as": "state"}},
    {"$project": {**documents.SEEN, "row": 1, "person._id": 1, "state": 1}},
]


class Derivation:
    """The derived rows of one database, by these rules."""

    def __init__(self, db: Collections, rules: Rules) -> None:
        self._people, self._punches, self._attendance = db["people"], db["punches"], db["attendance"]
        self._counting = db["counting"]
        # Whoever finds a punch finds the note that was written before it, without waiting for the note: a server keeps
        # the order of its writes, whatever it loses.
        self._unfinished = db["unfinished"].with_options(write_concern=WriteConcern(w=1))
        self._rules = rules
        self._known: dict[str, SiteRules] = {}
        self._cooldown = timedelta(seconds=rules.cooldown_s)

    @contextmanager
    def noted(self, kind: str, of: str) -> Iterator[None]:
        """Note that the rows of a punch or person are about to change; the note stays if that ends in an error."""
        note = {"_id": secrets.token_hex(12), "kind": kind, "of": of, "at": documents.moment(datetime.now(UTC))}
        self._unfinished.insert_one(note)
        yield
        # Nobody waits for this: a note that stays is done once more by whoever finds it, which changes nothing.
        self._unfinished.with_options(write_concern=WriteConcern(w=0)).delete_one({"_id": note["_id"]})

    def finish(self) -> None:
        """Do what writers that were killed left undone."""
        for note in list(self._unfinished.find().sort("_id", 1)):
            self._redo(note["kind"], note["of"])
            if datetime.now(UTC) - note["at"] > _WRITER_GONE:
                self._unfinished.delete_one({"_id": note["_id"]})

    def _redo(self, kind: str, of: str) -> None:
        if kind == "person":
            self.name_rows(of)
            return
        punch = self._punches.find_one({"_id": of}, documents.SEEN)
        if punch is not None:
            self.count(documents.seen(punch))

    def count(self, seen: Seen) -> bool:
        """Bring the rows around a stored punch up to date; whether it counts."""
        counted = False
        for attempt in range(_ATTEMPTS_AGAINST_OTHER_RULES):
            # What was right a moment ago is most likely right now; whether it was is seen after the work.
            rules = self._known[seen.site] if seen.site in self._known else self.bring_to_rules(seen.site)
            counted, state = self._settle(seen, rules)
            if self._is_current(state, rules):
                self._known[seen.site] = rules
                return counted
            self._known.pop(seen.site, None)
            _pause(attempt)
        logger.warning("site %s is counted by different rules at once: give all programs the same", seen.site)
        return counted

    def _settle(self, seen: Seen, rules: SiteRules) -> tuple[bool, Document | None]:
        """Write what the punches around one say, until looking again finds nothing to write.

        Whether it counts, and what ``counting`` said of the site after the last write.
        """
        for attempt in range(_ATTEMPTS):
            around = self._around(seen)
            changes = self._changes(around, rules)
            if not changes:
                return seen.event_id in around.counts, around.state
            self._write(changes)
            _pause(attempt)
        logger.warning("the attendance of site %s changes all the time and was left to others", seen.site)
        return False, self._counting.find_one({"_id": seen.site})

    def _around(self, seen: Seen) -> Around:
        """The stretch of a punch with all that its rows are made of, by one question in all but long stretches."""
        chain, found = chain_of(seen), dict[str, Document]()

        def look(first: datetime, last: datetime) -> list[Seen]:
            asked = [{"$match": _between(chain, first, last)}, *_WITH_ROWS]
            found.update((each["_id"], each) for each in self._punches.aggregate(asked))
            return [documents.seen(each) for each in found.values()]

        stretch = stretch_around(seen.observed_at, cooldown=self._cooldown, look=look)
        if not stretch:
            return Around({}, {}, None, None)
        last = found[stretch[-1].event_id]
        return Around(
            counts={each.event_id: each for each in counted_in_order(stretch, self._rules.cooldown_s)},
            rows={each.event_id: row for each in stretch for row in found[each.event_id]["row"]},
            name=next((person["_id"] for person in last["person"]), None),
            state=next(iter(last["state"]), None),
        )

    def _changes(self, around: Around, rules: SiteRules) -> list[Change]:
        changes: list[Change] = [DeleteOne({"_id": row}) for row in around.rows if row not in around.counts]
        for event_id, each in around.counts.items():
            row = documents.attendance_document(each, rules, identity_id=around.name)
            if around.rows.get(event_id) != row:
                changes.append(ReplaceOne({"_id": event_id}, row, upsert=True))
        return changes

    def _write(self, changes: list[Change]) -> None:
        try:
            self._attendance.bulk_write(changes, ordered=False)
        except BulkWriteError as error:
            # Somebody else wrote the same row at this moment; looking again tells whether it is the right one.
            if any(fault["code"] != _DUPLICATE for fault in error.details["writeErrors"]):
                raise

    def name_rows(self, identity_id: str) -> None:
        """Give the rows the identity id of whoever has their subject reference now, and nobody else."""
        before: Document | None = {"unknown": True}
        while True:
            person = self._people.find_one({"_id": identity_id}, {"subject_ref": 1})
            if person == before:
                return
            before = person
            ref = None if person is None else person["subject_ref"]
            others = {"identity_id": identity_id, "subject_ref": {"$ne": ref}}
            self._attendance.update_many(others, {"$set": {"identity_id": None}})
            if ref is not None:
                theirs = {"subject_ref": ref, "identity_id": {"$ne": identity_id}}
                self._attendance.update_many(theirs, {"$set": {"identity_id": identity_id}})

    def bring_to_rules(self, site: str) -> SiteRules:
        """Count a site anew when its rows come from other rules than ours, or when that was asked for; the rules."""
        for attempt in range(_ATTEMPTS):
            state = self._counting.find_one({"_id": site})
            rules = self._rules_by(site, state)
            if self._is_current(state, rules):
                return rules
            asked = self._claim(site, state, rules)
            if asked is not None:
                self._count_site(site, rules)
                self._counting.update_one({"_id": site, "rules": rules.text}, {"$max": {"counted": asked}})
            _pause(attempt)
        return rules

    def bring_all_to_rules(self) -> None:
        """As `bring_to_rules`, for every site that was ever counted."""
        for state in list(self._counting.find().sort("_id", 1)):
            if not self._is_current(state, self._rules_by(state["_id"], state)):
                self.bring_to_rules(state["_id"])

    def ask(self, sites: Iterable[str]) -> None:
        """Ask for sites to be counted anew before their rows are used next."""
        for site in sites:
            self._first_state(site, time_zone=None)
            self._counting.update_one({"_id": site}, {"$inc": {"asked": 1}})

    def ask_all(self) -> None:
        """As `ask`, for every site that was ever counted."""
        self.ask([state["_id"] for state in self._counting.find({}, {"_id": 1})])

    def zones(self) -> dict[str, str]:
        """The zones remembered for sites, by site id."""
        found = self._counting.find().sort("_id", 1)
        return {state["_id"]: state["time_zone"] for state in found if state["time_zone"] is not None}

    def remember_zone(self, site: str, time_zone: str) -> None:
        """Note the zone of a site that was never counted here."""
        self._first_state(site, time_zone=time_zone)

    def _first_state(self, site: str, *, time_zone: str | None) -> None:
        try:
            self._counting.insert_one(
                {"_id": site, "time_zone": time_zone, "rules": "", "asked": 1, "counted": 0},
            )
        except DuplicateKeyError:
            return

    def rebuild(self) -> int:
        """Count every site anew; the number of rows."""
        sites = {state["_id"] for state in self._counting.find()}
        sites |= set(_values(self._punches, "site")) | set(_values(self._attendance, "site"))
        for site in sorted(sites):
            self.ask([site])
            self.bring_to_rules(site)
        return sum(self._attendance.count_documents({"site": site}) for site in sorted(sites))

    def _rules_by(self, site: str, state: Document | None) -> SiteRules:
        return self._rules.of(site, remembered=None if state is None else state["time_zone"])

    def _is_current(self, state: Document | None, rules: SiteRules) -> bool:
        return state is not None and state["rules"] == rules.text and state["counted"] == state["asked"]

    def _claim(self, site: str, state: Document | None, rules: SiteRules) -> int | None:
        """Say that we are about to count a site by our rules; the number of the request, None if it has changed."""
        if state is None:
            self._first_state(site, time_zone=rules.time_zone)
            return None
        if state["rules"] == rules.text:
            return int(state["asked"])
        if state["rules"]:
            logger.warning("site %s was counted by '%s' and is counted anew by '%s'", site, state["rules"], rules.text)
        change = {"$set": {"rules": rules.text, "time_zone": rules.time_zone}, "$inc": {"asked": 1}}
        mine = {"_id": site, "rules": state["rules"], "asked": state["asked"]}
        return int(state["asked"]) + 1 if self._counting.update_one(mine, change).modified_count else None

    def _count_site(self, site: str, rules: SiteRules) -> None:
        changes = (change for _, change in self._differences(site, rules))
        while batch := list(islice(changes, _BATCH)):
            self._write(batch)
        # What was recorded meanwhile is not in what was read; each such place is looked at by itself.
        for event_id in [event_id for event_id, _ in self._differences(site, rules)]:
            punch = self._punches.find_one({"_id": event_id}, documents.SEEN)
            if punch is None:
                self._attendance.delete_one({"_id": event_id})
            else:
                self._settle(documents.seen(punch), rules)

    def _differences(self, site: str, rules: SiteRules) -> Iterator[tuple[str, Change]]:
        """Event ids of a site whose row is not what all its punches say, with what would put it right."""
        wanted = self._wanted(site)
        names = {person["subject_ref"]: person["_id"] for person in self._people.find({}, {"subject_ref": 1})}
        for row in self._attendance.find({"site": site}):
            seen = wanted.pop(row["_id"], None)
            if seen is None:
                yield row["_id"], DeleteOne({"_id": row["_id"]})
                continue
            right = documents.attendance_document(seen, rules, identity_id=names.get(seen.subject_ref))
            if right != row:
                yield row["_id"], ReplaceOne({"_id": row["_id"]}, right)
        for event_id, seen in wanted.items():
            name = names.get(seen.subject_ref)
            yield event_id, InsertOne(documents.attendance_document(seen, rules, identity_id=name))

    def _wanted(self, site: str) -> dict[str, Seen]:
        # Put in order here: all are held in any case, and a server would have to sort them beside its other work.
        punches = sorted(map(documents.seen, self._punches.find({"site": site}, documents.SEEN)), key=_in_chains)
        chains = groupby(punches, key=chain_of)
        cooldown_s = self._rules.cooldown_s
        return {seen.event_id: seen for _, chain in chains for seen in counted_in_order(chain, cooldown_s)}


def _in_chains(seen: Seen) -> tuple[Chain, tuple[datetime, str, int, str]]:
    return chain_of(seen), order_of(seen)


def _between(chain: Chain, first: datetime, last: datetime) -> Document:
    """The filter for what lies in a chain between two moments, both inclusive."""
    subject_ref, site, direction = chain
    # Half-open, because SecantusDB 0.7 finds nothing behind a compound index when both inclusive bounds are equal.
    moments = {"$gte": first} if last >= LAST_MOMENT else {"$gte": first, "$lt": last + timedelta(milliseconds=1)}
    return {"site": site, "subject_ref": subject_ref, "direction": direction.value, "observed_at": moments}


def _values(collection: Documents, field: str) -> Iterator[str]:
    """Every value of an indexed text field, by one step through the index for each."""
    found = collection.find_one({field: {"$gte": ""}}, {field: 1}, sort=[(field, 1)])
    while found is not None:
        yield found[field]
        found = collection.find_one({field: {"$gt": found[field]}}, {field: 1}, sort=[(field, 1)])


def _pause(attempt: int) -> None:
    """Let others go on before looking again, the longer the more often it was needed."""
    if attempt > 0:
        time.sleep(random.uniform(0.0, 0.002 * min(attempt, 20)))
