"""Run folders: their files and states, read, found and locked; without torch."""
