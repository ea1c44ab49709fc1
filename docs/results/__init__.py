"""Numbers of finished runs, and what docs/make_results.py makes of them."""
