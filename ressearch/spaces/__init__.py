"""Many networks: domains, the space they span, and trial-like objects that answer its `suggest_*`."""
