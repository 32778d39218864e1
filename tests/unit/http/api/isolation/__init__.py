"""Proof that a member sees and changes nothing of others, for every route.

Each topic has a module with `EXAMPLES` by the name of the route, which `test_isolation` finds by itself: a
part that adds routes adds a module, or lines to one. A second example of a route has a word behind its name
("list_devices/search"). The parts of a server are made for each example, so that none sees what another one
did.
"""
