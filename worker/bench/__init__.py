"""Benches of the line: around a null engine, which only they and the tests can build; and whole, with a network."""
