"""Cutting a streamed answer, and its spoken form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.voice.speech.sentences import SentenceCutter, prepare, speakable

_PIECES = st.sampled_from(
    [" ", "\n", ".", "...", "…", ",", "!", "?", "。", "，", "！", "3.14", "1,000", "Dr.", "e.g.", "J.",
    "http://a.b/c?d=e",
     "word", "Xin chào", "你好", "はい", "네", "Mai", "ул.", "EE.", "12", "3.", "im", " »", "« ", "»",
    "\u00a0", "「", "」", "¿", "“", "„", "😊", "**", "- ", "No.", "\"", "”", "p.m.", "I", "x" * 300]
)  # fmt: skip
_ANSWERS = st.one_of(st.text(max_size=400), st.lists(_PIECES, max_size=60).map("".join))


def cut(text: str, sizes: list[int] | None = None) -> list[str]:
    cutter = SentenceCutter()
    pieces: list[str] = []
    at = 0
    for size in sizes or []:
        pieces += cutter.feed(text[at : at + size])
        at += size
    pieces += cutter.feed(text[at:])
    return pieces + cutter.flush()


@given(_ANSWERS, st.lists(st.integers(0, 20), max_size=40))
def test_pieces_joined_are_the_answer_whatever_the_chunks(text: str, sizes: list[int]) -> None:
    pieces = cut(text, sizes)
    assert "".join(pieces) == text
    assert pieces == cut(text)
    assert all(pieces)


@given(_ANSWERS)
def test_no_piece_is_endless(text: str) -> None:
    assert all(len(piece.rstrip(".!?…。！？\"'”’»)]}」』）】〉》*_` ")) <= 260 for piece in cut(text))


@pytest.mark.parametrize(
    "marked",
    [
        "Good morning to you.| How are you today?| Fine!",
        "The value of pi is 3.14 and more.| It cost 1,000 in 1999.",
        "I met Dr. Smith and Mrs. Jones there.| They left early.",
        "It was written by J. R. R. Tolkien.| A long book it is.",
        "It opens at 5 p.m. today and closes late.| See you.",
        "It opens at 5 p.m.| Then it closes at night.",
        "Look at https://example.com/a.b?c=d.| It is a page.",
        "This is room No. 5 of the house.| No. I do not know.",
        "Well... maybe it rains.| Or it... does not.",
        "He said “stop!”| And then he left.",
        "你好，我是小智。|今天天气很好！|我们去公园吧……|好的。",
        "これは本です。|それはペンですか？|はい。",
        "Hôm nay trời đẹp ở TP. Hồ Chí Minh.| Bạn khỏe không?",
        "1. Break the eggs.|\n2. Mix them well.|\n",
        "Milk\n|Eggs\n|Flour",
        "Das Fest ist am 1. Mai um acht.| Es ist im 2. Stock.| Das war im 17. Jahrhundert.",
        "Ich habe davon 12.| Mehr habe ich nicht.| Der 30. und 31. sind frei.",
        "König Ludwig XIV. war reich bzw. sehr reich.| Er baute ein Schloss.",
        "„Kommt sofort her!“| Das sagte sie laut.| Er rief: Halt!| »Nein«, sagte sie da.",
        "¡Hola!| ¿Cómo estás hoy?| Muy bien, muchas gracias.",
        "¿Ya está todo listo?|¡Claro que sí, amigo!",
        "Vive en la Av. Arequipa n.º 5 con el Dr. Ruiz.| EE. UU. es un país grande.",
        "Dijo: «¡Basta ya!».| Luego se fue a casa.",
        "Il crie : « Viens donc ici ! »| Puis il est parti.",
        "Il crie\u00a0: «\u00a0Viens ici\u00a0!\u00a0»| Il part alors.",
        "A Profa. Ana e o Dr. João chegaram.| Custa R$ 3,50 na Av. Paulista.",
        "Он живёт на ул. Ленина с 1990 г. в Москве.| Цена 5 руб. за кг.| Дёшево, правда?",
        "А. С. Пушкин и др. поэты т. е. многие.| Вот так.",
        "TS. Nguyễn Văn A. sống ở TP. Huế.| Giá là 100.000 đồng.",
        "彼は「はい。」と言いました。|「本当！」と彼女は言った。",
        "他说：“你好。”|然后他就走了。|《红楼梦》是一本书。",
        "그는 “네.”라고 말했어요.| 기온은 23.5도예요.| 좋은 하루 되세요!",
    ],
)
def test_sentences_end_where_a_reader_would_end_them(marked: str) -> None:
    assert cut(marked.replace("|", "")) == marked.split("|")


def test_the_first_clause_comes_early_and_later_ones_whole() -> None:
    text = "Of course I can, it is twenty degrees. Tomorrow, however, it will rain."
    assert [piece.strip() for piece in cut(text)] == [
        "Of course I can,",
        "it is twenty degrees.",
        "Tomorrow, however, it will rain.",
    ]
    assert cut("那是当然的，今天是二十度。") == ["那是当然的，", "今天是二十度。"]


def test_a_torn_off_first_word_is_not_a_clause() -> None:
    assert cut("Well, it is raining.") == ["Well, it is raining."]


def test_a_piece_comes_as_soon_as_its_end_is_certain() -> None:
    cutter = SentenceCutter()
    assert cutter.feed("It is twenty degrees.") == []
    assert cutter.feed(" T") == ["It is twenty degrees."]


def test_short_sentences_are_spoken_with_the_next_but_not_the_first() -> None:
    assert cut("Hi! Yes. No. And this is a longer one.") == ["Hi!", " Yes. No. And this is a longer one."]


def test_a_long_stretch_without_a_stop_is_cut_at_a_clause_or_a_word() -> None:
    clauses = cut("start here. " + "some words without any end, " * 20)
    assert all(piece.endswith(",") for piece in clauses[1:-1])
    words = cut("start here. " + "word " * 100)
    assert all(piece.strip().split() == ["word"] * (len(piece) // 5) for piece in words[1:-1])


@pytest.mark.parametrize(
    ("text", "speech"),
    [
        ("😊 Hello!", "Hello!"),
        ("**Bold** and *soft* and __under__ and `code`.", "Bold and soft and under and code."),
        ("## A title", "A title"),
        ("- one\n- two", "one two"),
        ("> quoted", "quoted"),
        ("See [the page](https://example.com/x).", "See the page."),
        ("![cat](cat.png)", "cat"),
        ("Go to https://www.example.com/path?q=1.", "Go to www.example.com."),
        ("2 * 3 = 6 and 2*3 and snake_case", "2 * 3 = 6 and 2*3 and snake_case"),
        ("```python\nx = 1\n```", "x = 1"),
        ("| a | b |\n|---|---|", "a , b ,"),
        ("--- \n***", ""),
        ("… !?", ""),
        ("😊", ""),
        ("你好。", "你好。"),
    ],
)
def test_markup_is_not_spoken(text: str, speech: str) -> None:
    assert speakable(text) == speech


@given(_ANSWERS)
def test_speech_is_one_clean_line(text: str) -> None:
    speech = speakable(text)
    assert speech == speech.strip()
    assert "\n" not in speech


def test_what_is_shown_is_without_the_face_that_the_device_shows() -> None:
    sentence = prepare(" **Great** 😎! ")
    assert (sentence.text, sentence.speech, sentence.emotion) == ("**Great**!", "Great !", ("cool", "😎"))


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        ("😊 The weather is fine. ", "The weather is fine."),
        ("Fine. 😊 Really.", "Fine. Really."),
        ("Hello😀", "Hello"),
        ("A bicycle 🚲 is fun 😂 and fast 😎.", "A bicycle 🚲 is fun and fast."),
        ("❤️ yes", "yes"),
        ("你好😊。", "你好。"),
        ("Ça va ? 😊", "Ça va ?"),
    ],
)
def test_only_emoji_that_show_a_mood_leave_the_text(piece: str, shown: str) -> None:
    assert prepare(piece).text == shown
