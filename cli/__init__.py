"""Holds the commands of the ``aec`` program."""
