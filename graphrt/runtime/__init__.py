"""Runs compiled graphs: native executables and sinks, and the interpreter engine behind the same interface."""
