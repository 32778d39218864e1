"""Sound of notices: texts and sound files as Ogg Opus streams that idle devices fetch and play.

Imports the voice pool and what is below it; `commands` decides which device gets which recording, and `http`
serves them.
"""
