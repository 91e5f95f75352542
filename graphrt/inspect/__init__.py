"""Looking inside: every stage of a compilation as text, JSON or DOT (`graphrt-dump`)."""
