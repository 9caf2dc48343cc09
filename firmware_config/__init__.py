"""What a Raspberry Pi or a broker boots with: configuration files, as data."""
