"""The ledger on a MongoDB server, standalone or a replica set: nothing here needs a transaction over documents.

A person with templates is one document; a punch is inserted once under its event id; both are acknowledged when a
majority of the servers has them in its journal. How the derived rows stay right is told in `deriving`. Safe to use from
several threads. Open it after a fork, never before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from pymongo.errors import BulkWriteError, DuplicateKeyError

from attendance.errors import LedgerError
from attendance.ledger.digests import Digest, digest_of
from attendance.ledger.mongo import client, documents, schema
from attendance.ledger.mongo.client import Document, Documents
from attendance.ledger.mongo.deriving import Derivation
from attendance.ledger.mongo.registry import MongoRegistry
from attendance.ledger.port import EVERYTHING, Kind, Ledger, PersonVersion, PunchQuery, Recorded, Setting
from attendance.ledger.rows import SITE_OF_PUNCH, Record
from attendance.ledger.rules import Rules
from attendance.ledger.spaces import shelved_apart
from attendance.types import AttendanceRow, Person, Punch

_IDS_PER_QUERY = 1000
_DUPLICATE = 11000


class MongoLedger(MongoRegistry, Ledger):
    """A `Ledger` in the database that ``url`` names, ``attendance`` where it names none; made where it is new.

    ``cooldown_s``: seconds in which a person counts once per site and direction. ``time_zones``: site id to the zone
    that cuts its days; for other sites the zone remembered in the database is used, or else UTC. ``timeout_s``: how
    long one question to the server may take; a server that is away is given up after half of it. Raises
    `LedgerUnavailableError`, `SchemaError` or `LedgerError`, and `ConfigError` for a URL that is none.
    """

    def __init__(
        self, url: str, *, cooldown_s: float, time_zones: Mapping[str, ZoneInfo], timeout_s: float = 10.0
    ) -> None:
        self._url = url
        rules = Rules(cooldown_s, time_zones)
        self._closed = False
        self._client = client.connect(url, timeout_s=timeout_s)
        try:
            with client.translated(url):
                db = self._client.get_default_database(client.DEFAULT_DATABASE)
                schema.upgrade(db, now=datetime.now(UTC))
                self._db = db
                self._people, self._punches, self._attendance = db["people"], db["punches"], db["attendance"]
                self._settings = db["settings"]
                self._derivation = Derivation(db, rules)
                self._derivation.finish()
        except BaseException:
            self._client.close()
            raise

    @contextmanager
    def _talking(self) -> Iterator[None]:
        if self._closed:
            raise LedgerError(f"the ledger {client.masked(self._url)} was closed: open it again")
        with client.translated(self._url):
            yield

    def insert_person(self, person: Person) -> bool:
        with self._talking():
            document = documents.person_document(person)
            with self._derivation.noted("person", person.identity_id):
                try:
                    self._people.insert_one(document)
                except DuplicateKeyError:
                    if self._people.find_one({"_id": person.identity_id}, {"_id": 1}) is None:
                        raise
                    return False
                self._derivation.name_rows(person.identity_id)
            return True

    def replace_person(self, person: Person) -> bool:
        with self._talking():
            document = documents.person_document(person)
            with self._derivation.noted("person", person.identity_id):
                read = {"_id": person.identity_id, "version": person.version - 1}
                if self._people.replace_one(read, document).matched_count == 0:
                    return False
                self._derivation.name_rows(person.identity_id)
            return True

    def remove_person(self, identity_id: str, *, version: int) -> bool:
        with self._talking(), self._derivation.noted("person", identity_id):
            if self._people.delete_one({"_id": identity_id, "version": version}).deleted_count == 0:
                return False
            self._derivation.name_rows(identity_id)
            return True

    def person(self, identity_id: str) -> Person | None:
        found = self.people([identity_id])
        return found[0] if found else None

    def people(self, identity_ids: Sequence[str] | None = None) -> list[Person]:
        space = self.template_revision().space
        while True:
            found = self._with_all_templates(identity_ids)
            now = self.template_revision().space
            # What is no longer in force may be deleted as soon as something else is.
            if now == space:
                return [shelved_apart(person, space) for person in found]
            space = now

    def _with_all_templates(self, identity_ids: Sequence[str] | None) -> list[Person]:
        with self._talking():
            if identity_ids is None:
                return [documents.person(each) for each in self._people.find().sort("_id", 1)]
            wanted = sorted(set(identity_ids))
            parts = [wanted[i : i + _IDS_PER_QUERY] for i in range(0, len(wanted), _IDS_PER_QUERY)]
            return [
                documents.person(each)
                for part in parts
                for each in self._people.find({"_id": {"$in": part}}).sort("_id", 1)
            ]

    def person_versions(self) -> dict[str, PersonVersion]:
        with self._talking():
            found = self._people.find({}, {"subject_ref": 1, "version": 1}).sort("_id", 1)
            return {each["_id"]: PersonVersion(each["subject_ref"], each["version"]) for each in found}

    def setting(self, key: str) -> Setting | None:
        with self._talking():
            found = self._settings.find_one({"_id": key})
            return None if found is None else Setting(key, found["version"], found["value"])

    def put_setting(self, setting: Setting) -> bool:
        document = {"_id": setting.key, "version": setting.version, "value": dict(setting.value)}
        with self._talking():
            if setting.version != 1:
                read = {"_id": setting.key, "version": setting.version - 1}
                return self._settings.replace_one(read, document).matched_count == 1
            try:
                self._settings.insert_one(document)
            except DuplicateKeyError:
                return False
            return True

    def record(self, punch: Punch) -> Recorded:
        with self._talking():
            stored = documents.punch_document(punch)
            inserted = True
            with self._derivation.noted("punch", punch.event_id):
                try:
                    self._punches.insert_one(stored)
                except DuplicateKeyError:
                    inserted = False
                    stored = self._punches.find_one({"_id": punch.event_id}) or stored
                counted = self._derivation.count(documents.seen(stored))
            return Recorded(inserted=inserted, counted=counted)

    def punches(self, query: PunchQuery = EVERYTHING) -> list[Punch]:
        if query.first_day is not None or query.last_day is not None:
            raise LedgerError("raw punches have no local day: ask for them by since and until, or ask for attendance")
        with self._talking():
            wanted = _conditions(query)
            identity_id = wanted.pop("identity_id", None)
            if identity_id is not None:
                person = self._people.find_one({"_id": identity_id}, {"subject_ref": 1})
                if person is None:
                    return []
                wanted["subject_ref"] = person["subject_ref"]
            return [documents.punch(each) for each in self._punches.find(wanted).sort(documents.ORDER)]

    def attendance(self, query: PunchQuery = EVERYTHING) -> list[AttendanceRow]:
        self.bring_to_rules()
        with self._talking():
            found = self._attendance.find(_conditions(query)).sort([("observed_at", 1), ("_id", 1)])
            return [documents.attendance(each) for each in found]

    def rebuild_attendance(self) -> int:
        with self._talking():
            return self._derivation.rebuild()

    def settings(self) -> list[Setting]:
        with self._talking():
            found = self._settings.find().sort("_id", 1)
            return [Setting(each["_id"], each["version"], each["value"]) for each in found]

    def zones(self) -> dict[str, str]:
        with self._talking():
            return self._derivation.zones()

    def import_people(self, people: Sequence[Person]) -> int:
        with self._talking():
            inserted = _insert_missing(self._people, map(documents.person_document, people))
            if inserted:
                self._derivation.ask_all()
            return inserted

    def import_records(self, punches: Sequence[Record]) -> int:
        with self._talking():
            sites = sorted({punch[SITE_OF_PUNCH] for punch in punches})
            # Asked before, in case this process dies in between, and after, in case somebody counted in between.
            self._derivation.ask(sites)
            inserted = _insert_missing(self._punches, map(documents.punch_of_record, punches))
            self._derivation.ask(sites)
            return inserted

    def import_settings(self, settings: Sequence[Setting]) -> int:
        with self._talking():
            found = ({"_id": each.key, "version": each.version, "value": dict(each.value)} for each in settings)
            return _insert_missing(self._settings, found)

    def import_zones(self, zones: Mapping[str, str]) -> None:
        with self._talking():
            for site, zone in zones.items():
                self._derivation.remember_zone(site, zone)

    def moments(self, every: int) -> list[datetime]:
        with self._talking():
            found = self._punches.find({}, {"_id": 0, "observed_at": 1}).sort(documents.ORDER)
            return [documents.utc(each["observed_at"]) for each in islice(found, every, None, every)]

    def bring_to_rules(self) -> None:
        with self._talking():
            self._derivation.finish()
            self._derivation.bring_all_to_rules()

    def records(self, of: Kind, query: PunchQuery = EVERYTHING) -> list[Record]:
        return list(self._read_records(of, query))

    def digest(self, of: Kind, query: PunchQuery = EVERYTHING) -> Digest:
        return digest_of(self._read_records(of, query))

    def _read_records(self, of: Kind, query: PunchQuery) -> Iterator[Record]:
        wanted = _conditions(PunchQuery(since=query.since, until=query.until))
        with self._talking():
            if of == "attendance":
                self.bring_to_rules()
                rows = map(documents.attendance_record, self._attendance.find(wanted))
                yield from sorted(rows, key=documents.ATTENDANCE_ORDER)
            else:
                yield from sorted(map(documents.punch_record, self._punches.find(wanted)), key=documents.PUNCH_ORDER)

    def close(self) -> None:
        self._closed = True
        self._client.close()


def _insert_missing(collection: Documents, found: Iterable[Document]) -> int:
    """Insert the documents whose ids are not there; how many. Any other fault is raised."""
    batch = list(found)
    if not batch:
        return 0
    try:
        return len(collection.insert_many(batch, ordered=False).inserted_ids)
    except BulkWriteError as error:
        for fault in error.details["writeErrors"]:
            if fault["code"] != _DUPLICATE or "_id" not in fault.get("keyPattern", {"_id": 1}):
                raise
        return int(error.details["nInserted"])


def _conditions(query: PunchQuery) -> Document:
    """The filter of a query; its bounds are cut to milliseconds, as everything stored is."""
    wanted = (
        ("observed_at", "$gte", query.since),
        ("observed_at", "$lt", query.until),
        ("local_day", "$gte", None if query.first_day is None else query.first_day.isoformat()),
        ("local_day", "$lte", None if query.last_day is None else query.last_day.isoformat()),
    )
    found: Document = {}
    for field, operator, value in wanted:
        if value is not None:
            found.setdefault(field, {})[operator] = documents.moment(value) if isinstance(value, datetime) else value
    for field in ("identity_id", "site", "camera_id"):
        if getattr(query, field) is not None:
            found[field] = getattr(query, field)
    return found
