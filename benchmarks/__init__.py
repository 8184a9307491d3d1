"""dbtool beside the native tools, measured in one run on throw-away servers. `python -m benchmarks`."""
