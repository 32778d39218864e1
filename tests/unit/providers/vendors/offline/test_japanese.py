"""Japanese with kanji, as it is read aloud."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.vendors.offline.japanese import KANJI, JapaneseReader

READER = JapaneseReader("offline", "offline")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("今日は天気がいいですね。", "キョーワ テンキガ イイデスネ。"),
        ("明日の朝7時に起こしてください。", "アシタノ アサ シチジニ オコシテ クダサイ。"),
        ("東京の気温は23度です。", "トーキョーノ キオンワ ニジュウサン ドデス。"),
        ("学校へ行く", "ガッコーエ イク"),
        ("私は思う", "ワタシワ オモウ"),
        ("彼女は先生です", "カノジョワ センセーデス"),
        ("お母さんと一人で", "オカアサント ヒトリデ"),
        ("今何時ですか", "イマ ナンジデスカ"),
        ("十分です", "ジュウブンデス"),
        ("もう一度お願いします", "モウ イチド オネガイ シマス"),
        ("何曜日ですか、何人ですか、何ですか", "ナンヨウビデスカ、 ナンニンデスカ、 ナンデスカ"),
        ("明後日は土曜日です", "アサッテワ ドヨウビデス"),
        ("げんご モデル", "ゲンゴ モデル"),
        ("人々", "ヒトビト"),
        ("こんにちは", "コンニチワ"),
        ("コーヒー", "コーヒー"),
    ],
)
def test_kanji_are_read(text: str, said: str) -> None:
    assert READER.reading(text) == said


@settings(max_examples=50)
@given(st.text(alphabet="今日は天気が良い東京へ行く私魑魅魍魎鬱、。abc123", max_size=30))
def test_no_kanji_is_left_to_who_cannot_read_it(text: str) -> None:
    assert not KANJI.search(READER.reading(text))


def test_without_the_package_kana_can_still_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sudachipy", None)
    reader = JapaneseReader("offline", "offline")
    assert reader.reading("こんにちわ 7時") == "こんにちわ シチジ"
    with pytest.raises(ProviderNotConfigured, match=r"pip install 'mimi-mqtt\[offline\]'"):
        reader.reading("今日は")
