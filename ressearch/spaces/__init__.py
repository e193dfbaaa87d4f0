"""Many networks: domains, the space they span, who answers its questions."""
