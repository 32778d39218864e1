"""The assistant without a language model: a table of intents over the user's last sentence, and tools.

`assistant` is the provider; `intents` the table, with `talk`, `clock`, `sums`, `settings` and `timers` behind
it; `numbers` reads spoken numbers; `phrases` holds what is said. Imports the contract; loaded by name.
"""

from mimi_mqtt.providers.vendors.offline.assistant.assistant import OfflineAssistant as OfflineAssistant
