BEGIN TRANSACTION;
CREATE TABLE activations (
	id INTEGER NOT NULL, 
	device_id VARCHAR(17) NOT NULL, 
	client_id VARCHAR(128) NOT NULL, 
	code VARCHAR(6) NOT NULL, 
	challenge VARCHAR(64) NOT NULL, 
	serial_number VARCHAR(64) NOT NULL, 
	board VARCHAR(64) NOT NULL, 
	firmware_version VARCHAR(64) NOT NULL, 
	language VARCHAR(35) NOT NULL, 
	host VARCHAR(253) NOT NULL, 
	created_at DATETIME NOT NULL, 
	asked_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_activations_asker UNIQUE (device_id, client_id), 
	UNIQUE (code)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE conversations (
	id VARCHAR(64) NOT NULL, 
	device_id VARCHAR(17) NOT NULL, 
	started_at DATETIME NOT NULL, 
	last_turn_at DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "conversations" VALUES('93673b7865beadf094f46884c8562494','02-00-00-00-00-01','2026-11-27 02:02:22.753224','2026-11-27 02:02:22.753224');
INSERT INTO "conversations" VALUES('d0ad848aa3b26843bcfb4406df44cf4f','02-00-00-00-00-01','2026-11-27 02:02:32.431297','2026-11-27 02:02:32.431297');
INSERT INTO "conversations" VALUES('bdc15e770e6c5ccdd7f48936750c051a','02-00-00-00-00-02','2026-11-27 02:02:43.538398','2026-11-27 02:02:43.538398');
CREATE TABLE devices (
	id VARCHAR(17) NOT NULL, 
	client_id VARCHAR(128) NOT NULL, 
	epoch INTEGER NOT NULL, 
	allowed BOOLEAN NOT NULL, 
	transport VARCHAR(16), 
	name VARCHAR(64) NOT NULL, 
	language VARCHAR(35) NOT NULL, 
	reported_language VARCHAR(35) NOT NULL, 
	board VARCHAR(64) NOT NULL, 
	firmware_version VARCHAR(64) NOT NULL, 
	host VARCHAR(253) NOT NULL, 
	revision BIGINT NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	last_seen_at DATETIME NOT NULL, agent VARCHAR(32) DEFAULT '' NOT NULL, user_name VARCHAR(64) DEFAULT '' NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "devices" VALUES('02-00-00-00-00-01','8e068b0f-b429-510a-a89b-6d7fa90dd7c0',875534854,1,NULL,'Kitchen','','en-US','bread-compact-wifi','2.0.3','127.0.0.1',6,'2026-11-27 02:02:22.671422','2026-11-27 02:02:51.952134','2026-11-27 02:02:48.829489','teacher','Ann');
INSERT INTO "devices" VALUES('02-00-00-00-00-02','9626dfa9-d450-5f2d-b7e1-58575e960128',900994770,1,NULL,'Hall','','en-US','bread-compact-wifi','2.0.3','127.0.0.1',7,'2026-11-27 02:02:43.468676','2026-11-27 02:02:55.804542','2026-11-27 02:02:48.839766','','');
INSERT INTO "devices" VALUES('02-00-00-00-00-03','b955b44a-1f3b-5e01-b12d-9bdc399f409d',1060205082,0,NULL,'','','en-US','bread-compact-wifi','2.0.3','127.0.0.1',8,'2026-11-27 02:02:48.845859','2026-11-27 02:03:00.661256','2026-11-27 02:02:48.845859','','');
CREATE TABLE forgotten_devices (
	id VARCHAR(17) NOT NULL, 
	revision BIGINT NOT NULL, 
	forgotten_at DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE ota_reports (
	device_id VARCHAR(17) NOT NULL, 
	received_at DATETIME NOT NULL, 
	report JSON NOT NULL, 
	PRIMARY KEY (device_id), 
	FOREIGN KEY(device_id) REFERENCES devices (id) ON DELETE CASCADE
);
INSERT INTO "ota_reports" VALUES('02-00-00-00-00-01','2026-11-27 02:02:48.829489','{"version": 2, "language": "en-US", "mac_address": "02:00:00:00:00:01", "board": {"type": "bread-compact-wifi", "name": "bread-compact-wifi", "ssid": "home", "mac": "02:00:00:00:00:01"}, "application": {"name": "xiaozhi", "version": "2.0.3"}}');
INSERT INTO "ota_reports" VALUES('02-00-00-00-00-02','2026-11-27 02:02:48.839766','{"version": 2, "language": "en-US", "mac_address": "02:00:00:00:00:02", "board": {"type": "bread-compact-wifi", "name": "bread-compact-wifi", "ssid": "home", "mac": "02:00:00:00:00:02"}, "application": {"name": "xiaozhi", "version": "2.0.3"}}');
INSERT INTO "ota_reports" VALUES('02-00-00-00-00-03','2026-11-27 02:02:48.845859','{"version": 2, "language": "en-US", "mac_address": "02:00:00:00:00:03", "board": {"type": "bread-compact-wifi", "name": "bread-compact-wifi", "ssid": "home", "mac": "02:00:00:00:00:03"}, "application": {"name": "xiaozhi", "version": "2.0.3"}}');
CREATE TABLE turns (
	id INTEGER NOT NULL, 
	conversation_id VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	mode VARCHAR(32) NOT NULL, 
	heard TEXT NOT NULL, 
	reply TEXT NOT NULL, 
	outcome VARCHAR(32) NOT NULL, 
	timings_ms JSON NOT NULL, 
	tools_called JSON NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_turns_number UNIQUE (conversation_id, number), 
	FOREIGN KEY(conversation_id) REFERENCES conversations (id) ON DELETE CASCADE
);
INSERT INTO "turns" VALUES(1,'93673b7865beadf094f46884c8562494',1,'2026-11-27 02:02:22.753224','auto','what time is it','🙂 It is two oh two in the morning.','answered','{"endpoint": 600.0, "transcript": 2943.7, "first_token": 2944.7, "speech": 2944.8, "first_sentence": 2944.9, "first_audio": 2983.6, "stop": 4927.1}','[]');
INSERT INTO "turns" VALUES(2,'d0ad848aa3b26843bcfb4406df44cf4f',1,'2026-11-27 02:02:32.431297','auto','set a timer for five minutes','👍 The timer is set for 5 minutes.','answered','{"endpoint": 600.0, "transcript": 2729.4, "first_token": 2732.9, "speech": 2733.0, "first_sentence": 2733.1, "first_audio": 2759.1, "stop": 4963.1, "tools": 2.5}','["set_timer"]');
INSERT INTO "turns" VALUES(3,'bdc15e770e6c5ccdd7f48936750c051a',1,'2026-11-27 02:02:43.538398','auto','hello','😊 Hello! What can I do for you?','answered','{"endpoint": 600.0, "transcript": 1446.1, "first_token": 1447.5, "speech": 1447.6, "first_sentence": 1447.7, "first_audio": 1523.6, "stop": 3483.6}','[]');
CREATE INDEX ix_devices_revision ON devices (revision);
CREATE INDEX ix_devices_last_seen_at ON devices (last_seen_at);
CREATE INDEX ix_activations_expires_at ON activations (expires_at);
CREATE INDEX ix_conversations_device ON conversations (device_id, last_turn_at);
CREATE INDEX ix_conversations_last_turn_at ON conversations (last_turn_at);
CREATE INDEX ix_forgotten_devices_revision ON forgotten_devices (revision);
COMMIT;
