"""One conversation with a device: hear, think, speak, turn after turn.

`conversation` drives the turns of one session. From the bottom: `hearing` makes heard frames of Opus packets,
`utterance` finds the end of the user's speech and transcribes it, `speech` makes Opus of text, `answer` has
the engines that understand and answer, `turn` is one turn as a handle with its output, tools, interruption
and record. `ports` has the interfaces to the outside, `pool` builds what conversations share.

Imports `tools`, `providers`, `fleet`, `store`, `audio` and below; only `session` and the composition root
import it.
"""
