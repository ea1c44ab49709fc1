"""Reconstruction: tune group after group so that each reproduces its full-precision output."""
