"""What the model is shown."""

from mimi_mqtt.providers.contract.chat import ChatMessage, ToolCall
from mimi_mqtt.voice.answer.dialogue import Dialogue, SpokenSentence, heard_part

CALL = ToolCall("1", "set_volume", {"volume": 40})
ASKED = ChatMessage("assistant", "Let me see.", (CALL,))
RESULT = ChatMessage("tool", "done", tool_call_id="1")


def shown(dialogue: Dialogue) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in dialogue.messages("be kind", "next")]


def test_an_empty_prompt_is_none() -> None:
    assert Dialogue(20).messages("", "next") == [ChatMessage("user", "next")]


def test_the_model_sees_the_prompt_the_turns_and_the_question() -> None:
    dialogue = Dialogue(20)
    dialogue.add("hello", (), "hi", complete=True)
    dialogue.add("louder", (ASKED, RESULT), "it is louder", complete=True)
    assert shown(dialogue) == [
        ("system", "be kind"),
        ("user", "hello"),
        ("assistant", "hi"),
        ("user", "louder"),
        ("assistant", "Let me see."),
        ("tool", "done"),
        ("assistant", "it is louder"),
        ("user", "next"),
    ]


def test_history_is_bounded_in_turns() -> None:
    dialogue = Dialogue(2)
    for number in range(5):
        dialogue.add(f"q{number}", (ASKED, RESULT), f"a{number}", complete=True)
    assert [content for role, content in shown(dialogue) if role == "user"] == ["q3", "q4", "next"]


def test_no_history_can_be_wanted() -> None:
    dialogue = Dialogue(0)
    dialogue.add("q", (), "a", complete=True)
    assert shown(dialogue) == [("system", "be kind"), ("user", "next")]


def test_an_interrupted_reply_is_kept_as_far_as_it_was_heard() -> None:
    dialogue = Dialogue(5)
    dialogue.add("q", (ASKED, RESULT), "it was", complete=False)
    assert shown(dialogue)[2:-1] == [("assistant", ""), ("tool", "done"), ("assistant", "it was…")]


def test_a_reply_of_which_nothing_was_heard_leaves_only_the_question() -> None:
    dialogue = Dialogue(5)
    dialogue.add("q", (), "", complete=False)
    assert shown(dialogue) == [("system", "be kind"), ("user", "q"), ("user", "next")]


def test_a_call_without_its_result_is_not_shown() -> None:
    dialogue = Dialogue(5)
    second = ChatMessage("assistant", "", (ToolCall("2", "a", {}), ToolCall("3", "b", {})))
    dialogue.add("q", (ASKED, RESULT, second, ChatMessage("tool", "x", tool_call_id="2")), "", complete=False)
    assert [role for role, _ in shown(dialogue)] == ["system", "user", "assistant", "tool", "user"]


def test_an_announcement_has_no_question() -> None:
    dialogue = Dialogue(5)
    dialogue.add("", (), "tea is ready", complete=True)
    assert shown(dialogue)[1:-1] == [("assistant", "tea is ready")]


def test_what_was_heard_is_cut_at_a_word() -> None:
    sentences = [
        SpokenSentence("One two three.", 0, 10, complete=True),
        SpokenSentence(" Four five six.", 10, 20, complete=True),
    ]
    assert heard_part(sentences, 0, 60) == ""
    assert heard_part(sentences, 5, 60) == "One two"[:3]
    assert heard_part(sentences, 10, 60) == "One two three."
    assert heard_part(sentences, 18, 60) == "One two three. Four five"
    assert heard_part(sentences, 20, 60) == "One two three. Four five six."
    assert heard_part([SpokenSentence("你好朋友们", 0, 10, complete=True)], 5, 60) == "你好"


def test_a_sentence_still_being_made_is_not_counted_as_heard() -> None:
    sentence = SpokenSentence("a b c d e f g h i j", 0, 4)
    assert len(heard_part([sentence], 4, 60)) < len(sentence.text)
