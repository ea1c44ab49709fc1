"""Run folders on disk: which files they have, how they are read, found and told apart; without torch."""
