"""Measurements of speed, memory and growth; nothing here is a test."""
