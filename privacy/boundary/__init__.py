"""The only way out: topics, messages, envelope, gate, audit log and the MQTT connection."""
