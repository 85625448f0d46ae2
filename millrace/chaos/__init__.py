"""Chaos: faults at every moment, clients that write down what they were told, and a checker of what they wrote."""
