"""Measures rate, distortion and speed."""
