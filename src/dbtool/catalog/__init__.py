"""What is known about backups: names, metadata, records, the repository and its index."""
