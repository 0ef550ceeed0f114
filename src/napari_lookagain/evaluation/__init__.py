"""Proof that anyone can rerun: what is held out, what is compared, how it is measured, and what to make of it."""
