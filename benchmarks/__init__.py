"""dbtool beside the native tools, measured in one run on one throw-away server. `python -m benchmarks`."""
