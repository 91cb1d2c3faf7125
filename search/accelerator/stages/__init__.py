"""The staged space: layers in order, cut into stages with chunks of their own; with its exact
solver.
"""
