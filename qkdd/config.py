"""The whole TOML of a relay, composed of each room's own settings."""
