"""Benches of the line around the engine: with a null engine, which only they and the tests can build."""
