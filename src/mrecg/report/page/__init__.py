"""The HTML page of a report, and its light form without interaction."""
