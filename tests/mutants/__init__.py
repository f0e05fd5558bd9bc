"""Faults planted one at a time in a copy of the product, and what finds each of them.

A proof that never failed has proved nothing yet. Each mutant is one protection taken away, as
exact text before and after: where the text is gone, the list has to follow the product, and
says so. The product itself has no switches for its rules.
"""
