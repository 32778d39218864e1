"""Ready-made replies: fixed ones in five languages, small talk and jokes in English."""

from collections.abc import Mapping

LANGUAGES = ("en", "vi", "ru", "ja", "zh")

FIXED: Mapping[str, Mapping[str, str]] = {
    "greeting": {
        "en": "😊 Hello! What can I do for you?",
        "vi": "😊 Xin chào! Tôi có thể giúp gì cho bạn?",
        "ru": "😊 Здравствуйте! Чем я могу помочь?",
        "ja": "😊 こんにちは！何をしましょうか？",
        "zh": "😊 你好！我能帮你做什么？",
    },
    "help": {
        "en": "😊 I can tell the time and the date, calculate, set timers, change the volume and the "
        "brightness, tell jokes, and repeat after you. "
        "For real conversations, add the key of a language model.",
        "vi": "😊 Khi chưa có mô hình ngôn ngữ, tôi chỉ hiểu các lệnh tiếng Anh: giờ, ngày, phép tính, "
        "hẹn giờ, âm lượng và độ sáng.",
        "ru": "😊 Без языковой модели я понимаю только английские команды: время, дата, счёт, таймеры, "
        "громкость и яркость.",
        "ja": "😊 言語モデルがないので、英語の命令だけ分かります。"
        "時間、日付、計算、タイマー、音量、明るさです。",
        "zh": "😊 没有语言模型时，我只听得懂英语命令：时间、日期、计算、定时器、音量和亮度。",
    },
    "unknown": {
        "en": "🤷 I can't answer that without a language model. Ask me for the time, a sum, a timer or a "
        "joke, or say help.",
        "vi": "🤷 Tôi không thể trả lời câu này khi chưa có mô hình ngôn ngữ.",
        "ru": "🤷 Без языковой модели я не могу на это ответить.",
        "ja": "🤷 言語モデルがないので、答えられません。",
        "zh": "🤷 没有语言模型，我回答不了这个问题。",
    },
    "unknown again": {
        "en": "🤷 I don't know that either.",
        "vi": "🤷 Câu này tôi cũng không biết.",
        "ru": "🤷 Этого я тоже не знаю.",
        "ja": "🤷 それも分かりません。",
        "zh": "🤷 这个我也不知道。",
    },
    "nothing": {
        "en": "😕 I didn't hear anything. Could you say that again?",
        "vi": "😕 Tôi không nghe thấy gì. Bạn nói lại được không?",
        "ru": "😕 Я ничего не услышал. Повторите, пожалуйста.",
        "ja": "😕 聞こえませんでした。もう一度お願いします。",
        "zh": "😕 我没有听到。请再说一遍。",
    },
    "thanks": {
        "en": "😊 You're welcome!",
        "vi": "😊 Không có gì!",
        "ru": "😊 Пожалуйста!",
        "ja": "😊 どういたしまして！",
        "zh": "😊 不客气！",
    },
    "goodbye": {
        "en": "🙂 Goodbye! See you soon.",
        "vi": "🙂 Tạm biệt! Hẹn gặp lại.",
        "ru": "🙂 До свидания!",
        "ja": "🙂 さようなら！",
        "zh": "🙂 再见！",
    },
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


def fixed(key: str, language: str) -> str:
    """The fixed reply `key` in `language`, in English where there is none."""
    replies = FIXED[key]
    return replies.get(language, replies["en"])
