"""Chaos: a cluster of real parts of its own, clients that record what they were told, faults, and a checker.

Needs the extra ``local``.
"""
