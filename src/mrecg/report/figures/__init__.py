"""Figures of a report: those of single runs, and those for papers."""
