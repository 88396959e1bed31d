"""Turns pixels into coded symbols and back: networks, entropy path, weights, public API."""
