"""Trains the networks and exports them to integer weights."""
