"""pocketsphinx out of this process: it holds the GIL for as long as it decodes.

In the server `pool` shares children between utterances, `worker` runs one child, and `span` finds the speech
in an utterance; in the child `child` answers requests, and `decoder` decides between the `grammar` of
commands and the general model. `messages` is what goes over the pipes. The child imports nothing else of this
project, not even numpy. Used by `providers.stt.pocketsphinx` alone.
"""
