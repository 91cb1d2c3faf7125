"""Simulation against the golden model and the schedule, structure checks, random designs."""
