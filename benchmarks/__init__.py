"""Measurements of speed, memory and growth; nothing here is a test."""

from mrecg.system.variables import share_processors

share_processors()  # as the command line does
