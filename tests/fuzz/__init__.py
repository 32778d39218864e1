"""Fuzz targets: one for every parser of bytes from outside, run by `scripts/fuzz` and by the ordinary tests.

`target` has what a target is made of; each `*_targets` module has those of one part. A target's check holds
more than "no crash": only the documented errors, bounded results, round trips, and the same result for a
stream however it is cut. `command` is the command line, `engine` runs one target under atheris, and
`mutation` makes the inputs of the ordinary tests.
"""
