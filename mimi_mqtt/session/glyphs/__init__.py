"""Glyphs that a device's font lacks: chosen, rendered and sent with its texts (device contract, section 7).

`choice` and `memory` do no I/O, `fonts` finds font files, `typeface` draws with FreeType, `source` keeps what
was drawn, `push` puts it into messages. Imports `wire` and `providers.runtime.lru`; imported by `session`, by
`app`, and by the command line for what it tells of fonts.
"""
