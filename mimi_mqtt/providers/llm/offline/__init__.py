"""The assistant without a language model: a table of intents over the user's last sentence, and tools.

`assistant` is the provider; `intents` the table, with `talk`, `clock`, `sums`, `settings` and `timers` behind
it; `numbers` reads spoken numbers; `phrases` holds what is said. Imports `providers.base`; loaded by name.
"""

from mimi_mqtt.providers.llm.offline.assistant import OfflineAssistant as OfflineAssistant
