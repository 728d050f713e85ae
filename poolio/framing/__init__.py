"""Codecs: where a frame begins and ends in a stream of bytes, and how one is written. Knows memory only."""
