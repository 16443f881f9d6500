BEGIN TRANSACTION;
CREATE TABLE attendance (
        event_id TEXT PRIMARY KEY NOT NULL REFERENCES punches (event_id),
        subject_ref TEXT NOT NULL,
        identity_id TEXT,
        site TEXT NOT NULL,
        camera_id TEXT NOT NULL,
        observed_at TEXT NOT NULL,
        local_day TEXT NOT NULL,
        local_time TEXT NOT NULL,
        time_zone TEXT NOT NULL,
        direction TEXT NOT NULL CHECK (direction IN ('in', 'out', 'unspecified')),
        rules TEXT NOT NULL
    );
INSERT INTO "attendance" VALUES('event-1','ref-01','person-01','main','door','2026-01-05T08:00:00.000Z','2026-01-05','09:00:00','Europe/Berlin','in','v1 cooldown=300 zone=Europe/Berlin');
INSERT INTO "attendance" VALUES('event-3','ref-removed',NULL,'main','door','2026-01-05T08:00:20.000Z','2026-01-05','09:00:20','Europe/Berlin','in','v1 cooldown=300 zone=Europe/Berlin');
CREATE TABLE people (
        identity_id TEXT PRIMARY KEY NOT NULL,
        subject_ref TEXT NOT NULL UNIQUE,
        version INTEGER NOT NULL CHECK (version >= 1),
        created_at TEXT NOT NULL,
        name TEXT NOT NULL,
        department TEXT NOT NULL,
        site TEXT NOT NULL,
        group_name TEXT NOT NULL,
        active_from TEXT,
        active_to TEXT,
        deactivated_at TEXT,
        consent_policy TEXT NOT NULL,
        consent_version TEXT NOT NULL,
        consent_at TEXT NOT NULL,
        consent_by TEXT NOT NULL
    );
INSERT INTO "people" VALUES('person-01','ref-01',1,'2026-01-05T08:00:00.000Z','Name é','lab','','',NULL,'2026-12-31',NULL,'attested','1','2026-01-05T08:00:00.000Z','operator');
INSERT INTO "people" VALUES('person-02','ref-02',1,'2026-01-05T08:00:00.000Z','','','','',NULL,NULL,NULL,'attested','1','2026-01-05T08:00:00.000Z','operator');
CREATE TABLE punches (
        event_id TEXT PRIMARY KEY NOT NULL,
        subject_ref TEXT NOT NULL,
        journal_id TEXT NOT NULL,
        journal_counter INTEGER NOT NULL,
        observed_at TEXT NOT NULL,
        recorded_at TEXT NOT NULL,
        site TEXT NOT NULL,
        camera_id TEXT NOT NULL,
        direction TEXT NOT NULL CHECK (direction IN ('in', 'out', 'unspecified')),
        method TEXT NOT NULL,
        similarity REAL NOT NULL,
        runner_up_ref TEXT,
        runner_up_similarity REAL,
        margin REAL,
        threshold REAL NOT NULL,
        card_id TEXT NOT NULL,
        template_revision INTEGER NOT NULL,
        track_id INTEGER NOT NULL,
        liveness REAL,
        chain_hash TEXT
    );
INSERT INTO "punches" VALUES('event-1','ref-01','journal',1,'2026-01-05T08:00:00.000Z','2026-01-05T08:00:00.000Z','main','door','in','face',0.95,NULL,NULL,NULL,0.9,'card-1',1,1,NULL,NULL);
INSERT INTO "punches" VALUES('event-2','ref-01','journal',2,'2026-01-05T08:00:10.000Z','2026-01-05T08:00:10.000Z','main','door','in','face',0.95,NULL,NULL,NULL,0.9,'card-1',1,2,NULL,NULL);
INSERT INTO "punches" VALUES('event-3','ref-removed','journal',3,'2026-01-05T08:00:20.000Z','2026-01-05T08:00:20.000Z','main','door','in','face',0.95,NULL,NULL,NULL,0.9,'card-1',1,3,NULL,NULL);
CREATE TABLE schema (version INTEGER PRIMARY KEY, migrated_at TEXT NOT NULL);
INSERT INTO "schema" VALUES(1,'2026-11-22T20:00:55.451Z');
CREATE TABLE settings (key TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL);
INSERT INTO "settings" VALUES('templates',2,'{"pending": false, "revision": 1}');
CREATE TABLE sites (site_id TEXT PRIMARY KEY NOT NULL, time_zone TEXT, rules TEXT NOT NULL);
INSERT INTO "sites" VALUES('main','Europe/Berlin','v1 cooldown=300 zone=Europe/Berlin');
CREATE TABLE templates (
        identity_id TEXT NOT NULL REFERENCES people (identity_id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        template_id TEXT NOT NULL,
        card_id TEXT NOT NULL,
        source_label TEXT NOT NULL,
        path TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        batch TEXT NOT NULL,
        created_at TEXT NOT NULL,
        dimension INTEGER NOT NULL,
        vector BLOB NOT NULL CHECK (length(vector) = 4 * dimension),
        PRIMARY KEY (identity_id, position),
        UNIQUE (identity_id, template_id)
    );
INSERT INTO "templates" VALUES('person-01',0,'template-1','card-1','photos','person-01/1.jpg','0000000000000000000000000000000000000000000000000000000000000000','batch-1','2026-01-05T08:00:00.000Z',4,X'0000003F000080BE0000803F00004040');
CREATE INDEX people_by_department ON people (department);
CREATE INDEX punches_by_chain ON punches
        (subject_ref, site, direction, observed_at, journal_id, journal_counter, event_id);
CREATE INDEX punches_by_time ON punches (observed_at, journal_id, journal_counter, event_id);
CREATE INDEX punches_by_site ON punches (site, observed_at);
CREATE INDEX punches_by_camera ON punches (camera_id, observed_at);
CREATE INDEX attendance_by_chain ON attendance (subject_ref, site, direction, observed_at);
CREATE INDEX attendance_by_time ON attendance (observed_at, event_id);
CREATE INDEX attendance_by_day ON attendance (local_day, site);
CREATE INDEX attendance_by_person ON attendance (identity_id, local_day);
CREATE INDEX attendance_by_site ON attendance (site, observed_at);
CREATE INDEX attendance_by_camera ON attendance (camera_id, observed_at);
COMMIT;
PRAGMA application_id = 1096045636;
