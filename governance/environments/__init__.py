"""Environments: generations that never change once built, and the candidate over one of them."""
