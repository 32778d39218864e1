"""The checks of `mimi-mqtt doctor --security`: how this installation is protected, and what would do more.

`machine` reads what this machine is like, once; each other module is a set of checks that make
`Finding`s of the settings and the machine; `report` runs them all and prints them. Imported by `cli.doctor`.
"""
