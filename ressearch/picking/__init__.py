"""Picking: the network for a compute budget, of those that were trained and of the whole space."""
