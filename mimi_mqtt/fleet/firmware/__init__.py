"""Firmware and assets of devices: images, roll-outs, what a booting device is offered, and what came of it.

Read `rollout` first: it decides, from facts that the others bring. Imports the store and `files`; the
composition root, `commands`, the REST API and the command line import it.
"""
