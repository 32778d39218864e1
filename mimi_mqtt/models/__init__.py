"""Models that run on this machine: the catalogue of what can be installed, its folder, and installing.

A model is files only; a provider runs it. Imports config and errors; imported by `providers`, which uses
installed models by name, and by the command line.
"""
