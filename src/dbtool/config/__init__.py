"""Settings: what they are, where each comes from, and how secrets are kept out of sight."""
