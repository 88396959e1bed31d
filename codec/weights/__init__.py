"""Holds the weights that ship with the package, as data files."""
