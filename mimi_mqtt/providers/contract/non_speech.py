"""Removal of what recognisers write for sounds that are no speech. Pure.

Whisper has learned subtitles: whisper.cpp and servers on it write `[BLANK_AUDIO]`, `(wind blowing)`,
`*sighs*` or `♪♪` for silence, noise and music, and a full stop or an ellipsis for nothing at all. Answered as
words, each would be a turn that nobody began. For faint noise it writes how films end ("Thanks for watching",
"ご視聴ありがとうございました"), often with confidence, which nobody says to an assistant.
https://github.com/ggml-org/whisper.cpp/issues/2420, https://github.com/openai/whisper/discussions/679
"""

import re
from typing import Final

_LONGEST: Final = 80
"""Longest description of a sound, in characters: beyond, brackets hold something else."""

_DESCRIBED: Final = re.compile(
    rf"\[[^\[\]]{{0,{_LONGEST}}}\]|【[^【】]{{0,{_LONGEST}}}】|\*[^\W\d][^*\d]{{0,{_LONGEST}}}\*"
    # Round ones with digits are telephone numbers, stars between digits are products.
    rf"|\([^()\d]{{0,{_LONGEST}}}\)|（[^（）\d]{{0,{_LONGEST}}}）"
)
_ENDS_OF_FILMS: Final = frozenset(
    "".join(filter(str.isalpha, line.lower()))
    for line in """
        Thanks for watching
        Thank you for watching
        Thank you so much for watching
        Thanks for watching and I'll see you in the next video
        Please subscribe to my channel
        Please like and subscribe
        Don't forget to like and subscribe
        Subtitles by the Amara.org community
        ご視聴ありがとうございました
        ご視聴ありがとうございます
        最後までご視聴いただきありがとうございます
        最後までご視聴いただきありがとうございました
        チャンネル登録お願いします
        チャンネル登録よろしくお願いします
        次の動画でお会いしましょう
        谢谢观看
        謝謝觀看
        感谢观看
        感謝觀看
        谢谢大家观看
        謝謝大家觀看
        请不吝点赞 订阅 转发 打赏支持明镜与点点栏目
        請不吝點贊 訂閱 轉發 打賞支持明鏡與點點欄目
        字幕由 Amara.org 社区提供
        字幕由 Amara.org 社群提供
        시청해주셔서 감사합니다
        시청해 주셔서 고맙습니다
        구독과 좋아요 부탁드립니다
        다음 영상에서 만나요
        Спасибо за просмотр
        Продолжение следует
        Субтитры сделал DimaTorzok
        Субтитры создавал DimaTorzok
        Подписывайтесь на мой канал
        Untertitel im Auftrag des ZDF für funk
        Untertitel im Auftrag des ZDF
        Untertitel der Amara.org-Community
        Vielen Dank fürs Zuschauen
        Sous-titres réalisés par la communauté d'Amara.org
        Sous-titrage Société Radio-Canada
        Merci d'avoir regardé cette vidéo
        Subtítulos realizados por la comunidad de Amara.org
        Gracias por ver el video
        Suscríbete al canal
        Legendas pela comunidade Amara.org
        Obrigado por assistir
        Cảm ơn các bạn đã theo dõi
        Cảm ơn các bạn đã xem video
        Hãy subscribe cho kênh Ghiền Mì Gõ Để không bỏ lỡ những video hấp dẫn
        Hãy đăng ký kênh để ủng hộ kênh của mình nhé
    """.splitlines()
    if line.strip()
)
"""Last words of films and their subtitles, by their letters, as Whisper writes them for noise."""

_NOTES: Final = re.compile("[♩-♯🎵🎶🎼]")


def words_only(text: str) -> str:
    """`text` without descriptions of sounds and last words of films; empty when no word is left."""
    words = _NOTES.sub(" ", _DESCRIBED.sub(" ", text))
    if _ends_a_film(words):
        return ""
    if not any(character.isalnum() for character in words):
        return ""
    return text if words == text else " ".join(words.split())


def _ends_a_film(text: str) -> bool:
    """True when `text` is nothing but such a line, once or again and again."""
    letters = "".join(filter(str.isalpha, text.lower()))
    return any(letters == line * (len(letters) // len(line)) for line in _ENDS_OF_FILMS if letters)
