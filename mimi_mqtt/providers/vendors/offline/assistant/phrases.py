"""Ready-made replies in English; those in other languages are in `languages`."""

from collections.abc import Mapping

FIXED: Mapping[str, str] = {
    "greeting": "😊 Hello! What can I do for you?",
    "help": "😊 I can tell the time and the date, calculate, set timers, alarms and reminders, change the "
    "volume and the brightness, tell jokes, and repeat after you. "
    "For real conversations, add the key of a language model.",
    "unknown": "🤷 I can't answer that without a language model. Ask me for the time, a sum, a timer or a "
    "joke, or say help.",
    "unknown again": "🤷 I don't know that either.",
    "nothing": "😕 I didn't hear anything. Could you say that again?",
    "thanks": "😊 You're welcome!",
    "goodbye": "🙂 Goodbye! See you soon.",
}

TALK: Mapping[str, tuple[str, ...]] = {
    "how are you": (
        "😊 I'm well, thank you. And you?",
        "😀 All my circuits are in a good mood. How are you?",
    ),
    "morning": ("😊 Good morning! I hope you slept well.",),
    "afternoon": ("😊 Good afternoon! What can I do for you?",),
    "evening": ("😊 Good evening! How was your day?",),
    "night": ("😴 Good night. Sleep well!",),
    "meet": ("😊 Nice to meet you too!",),
    "presence": ("🙂 Yes, I'm here, and I hear you.",),
    "love": ("😍 That's very kind of you. I like you too!",),
    "praise": ("😊 Thank you! That makes my day.", "😳 Oh, thank you!"),
    "insult": ("😔 I'm sorry. I'll try to do better.",),
    "nature": ("😀 I'm a program in a small device. No heart, but good intentions.",),
    "age": ("😉 Younger than you, and I restart every now and then.",),
    "home": ("🙂 I live on the server in your network, and this device is my voice.",),
    "maker": ("🙂 People who write free software made me.",),
    "sorry": ("😊 No problem at all.",),
    "never mind": ("🙂 All right.",),
    "yes": ("🙂 Good. What shall I do?",),
    "no": ("🙂 All right, then not.",),
}

JOKES: tuple[str, ...] = (
    "😆 I asked the broker for a secret. It published it to everyone with a wildcard.",
    "😆 Why did the clock get lost? It kept going round in circles.",
    "😆 My timer and I had an argument. It went off.",
    "😆 I would tell you a joke about packet loss, but you might not get all of it.",
    "😆 Why don't robots panic? They have nerves of steel.",
    "😆 What does a microphone say to a shy singer? I hear you, I just don't believe you yet.",
    "😆 The volume control left the band. It said it was always being turned down.",
    "😆 A loudspeaker walks into a library. Everyone remembers it.",
    "😆 How does a sleepy computer wake up? It takes a byte of breakfast.",
    "😆 I tried to count to infinity. Somebody set a timer.",
)
