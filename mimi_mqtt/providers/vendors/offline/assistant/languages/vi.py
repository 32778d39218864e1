"""Vietnamese."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack

_DAYS: Final = ("thứ hai", "thứ ba", "thứ tư", "thứ năm", "thứ sáu", "thứ bảy", "chủ nhật")
_UNITS: Final = ["không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín"]


def _further() -> Mapping[str, int]:
    """Spoken forms that the Unicode data has not: hai lăm, hai mươi tư, một trăm linh năm."""
    said: dict[str, int] = {"tư": 4, "bẩy": 7, "mười năm": 15, "mươi": 10}
    for tens in range(2, 10):
        for unit, words in ((1, ("mốt", "một")), (4, ("tư", "bốn")), (5, ("lăm", "năm", "nhăm"))):
            for word in words:
                said[f"{_UNITS[tens]} mươi {word}"] = tens * 10 + unit
                if word in ("mốt", "lăm"):
                    said[f"{_UNITS[tens]} {word}"] = tens * 10 + unit
    for hundreds in range(1, 10):
        said[f"{_UNITS[hundreds]} trăm"] = hundreds * 100
        for unit in range(1, 10):
            for word in ("linh", "lẻ"):
                said[f"{_UNITS[hundreds]} trăm {word} {_UNITS[unit]}"] = hundreds * 100 + unit
    return said


def _clock(now: datetime) -> str:
    return f"{now.hour} giờ{f' {now.minute} phút' if now.minute else ' đúng'}"


def _day(now: datetime) -> str:
    return f"{_DAYS[now.weekday()]}, ngày {now.day} tháng {now.month} năm {now.year}"


PACK: Final = Pack(
    code="vi",
    read=partial(
        reader,
        "vi",
        thousands=("nghìn", "ngàn"),
        millions=("triệu",),
        also=_further,
        without=frozenset({"không", "linh", "lẻ"}),
    ),
    percent=r"phần trăm",
    minus="âm ",
    at=lambda now: f"lúc {_clock(now)}",
    time=lambda now: f"Bây giờ là {_clock(now)}.",
    day=_day,
    units=(r"(?:giờ|tiếng)(?: đồng hồ)?\b", r"phút\b", r"giây\b"),
    repeat=r"(?:hãy )?(?:nhắc lại|lặp lại|nói lại|nói theo tôi)(?: theo tôi)?",
    fractions=(
        (r"\b(\w+(?: \w+)?) (?:giờ|tiếng) rưỡi\b", r"\1 giờ 30 phút"),
        (r"\b(\w+(?: \w+)?) phút rưỡi\b", r"\1 phút 30 giây"),
        (r"\bnửa (?:giờ|tiếng)(?: đồng hồ)?\b", "30 phút"),
        (r"\bnửa phút\b", "30 giây"),
        (r"\bbốn mươi lăm phút\b", "45 phút"),
    ),
    operators=(
        (r"\bchia(?: cho)?\b", "/"),
        (r"\bnhân(?: với)?\b|\blần\b(?= ?\d)", "*"),
        (r"\bcộng(?: với)?\b", "+"),
        (r"\btrừ(?: đi)?\b", "-"),
        (r"(?:%|\bphần trăm) (?:của )?(?=\d)", " %of "),
        (r"\bcăn (?:bậc (?:hai|2) )?(?:của )?(?=\d)", "√ "),
        (r"\bmũ\b(?= ?\d)", "^"),
        (r"(?<=\d) bình phương\b", " ^ 2"),
    ),
    clock=(
        (r"\b(?:lúc|vào) (\d{1,2}) (?:giờ|h) rưỡi\b", r"@\1:30"),
        (r"\b(?:lúc|vào) (\d{1,2}) ?(?:giờ|h)(?: ?(\d{1,2})\b)?", r"@\1:\2"),
        (r"\b(\d{1,2}) ?(?:giờ|h)(?: ?(\d{1,2}))?(?: phút)?(?= (?:sáng|chiều|tối|đêm))", r"@\1:\2"),
    ),
    intents={
        "timer": r"\bhẹn giờ\b|\bđếm ngược\b|\bbáo thức\b|\bđồng hồ hẹn\b|\bbộ hẹn giờ\b|\btimer\b|\bhẹn (?!gặp)",
        "remind": r"\b(?:nhắc|gọi|đánh thức|báo)\b",
        "cancel": r"\b(?:hủy|huỷ|xóa|xoá|tắt|dừng|bỏ|ngừng)\b",
        "list": r"\b(?:còn (?:bao lâu|bao nhiêu|mấy|lại)|bao lâu|những|nào|liệt kê|đang chạy|mấy)\b",
        "volume": r"\bâm lượng\b|\bâm thanh\b|\bvolume\b|\bloa\b",
        "brightness": r"\bđộ sáng\b|\bmàn hình\b",
        "up": r"\b(?:tăng|to hơn|lớn hơn|to lên|lớn lên|sáng hơn|cao hơn)\b",
        "down": r"\b(?:giảm|nhỏ hơn|nhỏ lại|bé lại|tối hơn|thấp hơn|nhỏ xuống|hạ)\b",
        "louder": r"^(?:\S+ ){0,3}(?:to|lớn) (?:hơn|lên)\b(?: \S+){0,2}$",
        "quieter": r"^(?:\S+ ){0,3}(?:nhỏ|bé) (?:hơn|lại|xuống|đi)\b(?: \S+){0,2}$",
        "brighter": r"^(?:\S+ ){0,3}sáng (?:hơn|lên)\b(?: \S+){0,2}$",
        "darker": r"^(?:\S+ ){0,3}tối (?:hơn|đi|lại)\b(?: \S+){0,2}$",
        "highest": r"\b(?:tối đa|lớn nhất|to nhất|cao nhất|hết cỡ|sáng nhất)\b",
        "lowest": r"\b(?:tối thiểu|nhỏ nhất|thấp nhất|tối nhất)\b",
        "tell": r"\bbao nhiêu\b|\blà mấy\b|\bthế nào\b|\bcho (?:tôi )?biết\b|\bcòn\b",
        "mute": r"^(?:hãy |làm ơn )?(?:tắt tiếng|im lặng|im đi|yên lặng|tắt âm thanh)\b(?: \S+)?$",
        "unmute": r"\b(?:bật|mở) (?:tiếng|âm thanh|lại tiếng)\b",
        "battery": r"\bpin\b",
        "time": r"\bmấy giờ\b|\bgiờ là mấy\b|\bbây giờ là (?:bao nhiêu )?giờ\b|\bxem giờ\b|\bcho (?:tôi )?biết giờ\b",
        "date": r"\b(?:ngày|thứ|tháng|năm) (?:mấy|bao nhiêu|gì|nào)\b|\bngày tháng\b|\bhôm nay là\b|\bmùng mấy\b",
        "hello": r"^(?:xin )?chào\b(?: \S+){0,2}$|^(?:alo|a lô|hello|hi)\b(?: \S+)?$",
        "goodbye": r"\btạm biệt\b|\bhẹn gặp lại\b|^chúc ngủ ngon\b|\bthế thôi\b$",
        "thanks": r"\bc[ảá]m ơn\b",
        "help": r"\bgiúp (?:tôi|với|đỡ)\b|\blàm được (?:gì|những gì)\b|\bcó thể làm gì\b|\btrợ giúp\b",
        "name": r"\b(?:bạn|em|mày) (?:là ai|tên (?:là )?gì)\b|\btên (?:của )?bạn\b",
        "how are you": r"\b(?:khỏe|khoẻ) không\b|\bthế nào rồi\b",
        "joke": r"\b(?:chuyện cười|kể chuyện vui|truyện cười)\b",
        "never mind": r"^(?:thôi|không có gì|kệ đi|bỏ qua|được rồi|dừng lại|dừng|ok)$",
        "alarm": r"\bbáo thức\b",
        "set": r"\b(?:đặt|cài|bật|tạo|bắt đầu|hãy)\b",
        "to": r"\b(?:lên|xuống|tới|đến|thành) (?=\d)",
        "elsewhere": r"\bở (?!đây\b)\w+",
        "tomorrow": r"\b(?:ngày mai|mai là)\b",
        "yesterday": r"\bhôm qua\b",
        "morning": r"\bsáng\b",
        "evening": r"\b(?:chiều|tối|đêm)\b",
        "again": r"^(?:hãy )?(?:nhắc lại|nói lại|lặp lại)(?: (?:đi|điều đó|lần nữa))*$|^bạn (?:vừa )?nói gì$",
        "left": r"\bcòn (?:bao lâu|bao nhiêu thời gian)\b",
    },
    replies={
        "greeting": "😊 Xin chào! Tôi có thể giúp gì cho bạn?",
        "help": "😊 Tôi có thể cho biết giờ và ngày, tính toán, hẹn giờ, chỉnh âm lượng và độ sáng, và nhắc lại lời bạn. "
        "Để trò chuyện thật sự, cần có một mô hình ngôn ngữ.",
        "unknown": "🤷 Tôi không thể trả lời câu này khi chưa có mô hình ngôn ngữ. Hãy hỏi giờ, một phép tính hoặc hẹn giờ.",
        "unknown again": "🤷 Câu này tôi cũng không biết.",
        "nothing": "😕 Tôi không nghe thấy gì. Bạn nói lại được không?",
        "thanks": "😊 Không có gì!",
        "goodbye": "🙂 Tạm biệt! Hẹn gặp lại.",
        "name": "😊 Tôi là {name}, trợ lý giọng nói của bạn. Khi chưa có mô hình ngôn ngữ, tôi chỉ biết một ít.",
        "how are you": "😊 Tôi khỏe, cảm ơn bạn!",
        "never mind": "🙂 Được rồi.",
        "joke": (
            "😆 Vì sao cái đồng hồ đi khám bệnh? Vì nó chạy chậm.",
            "😆 Cái loa nói gì với cái micrô? Nói to lên nhé.",
            "😆 Vì sao rô bốt không biết sợ? Vì thần kinh của nó bằng thép.",
        ),
        "how to repeat": "🙂 Hãy nói: nhắc lại, rồi đến các từ.",
        "sum": "🤓 Kết quả là {value}.",
        "zero": "🤔 Không ai chia được cho số không.",
        "large": "😳 Số này quá lớn với tôi.",
        "how long": "🤔 Hẹn bao lâu? Ví dụ: hẹn giờ năm phút.",
        "too long": "🤔 Hẹn giờ từ một giây đến hai mươi bốn giờ.",
        "no timers": "😔 Ở đây tôi không hẹn giờ được.",
        "timer set": "👍 Đã hẹn giờ {duration}.",
        "timers": "🙂 Có {count} hẹn giờ, cái đầu tiên còn {duration}.",
        "timer left": "🙂 Còn {duration}.",
        "no timer": "🙂 Không có hẹn giờ đó, hoặc có nhiều cái.",
        "cancelled": "👍 Đã hủy hẹn giờ.",
        "failed": "😔 Không được rồi.",
        "volume now": "😀 Âm lượng là {value}.",
        "brightness now": "😎 Độ sáng là {value}.",
        "no volume": "😔 Tôi không chỉnh được âm lượng của thiết bị này.",
        "no brightness": "😔 Tôi không chỉnh được độ sáng của thiết bị này.",
        "level": "🤔 Hãy cho tôi một số từ không đến một trăm.",
        "battery": "🙂 Pin còn {value} phần trăm.",
        "no battery": "😔 Thiết bị này không cho tôi biết mức pin.",
        "elsewhere": "🤔 Tôi chỉ biết giờ ở đây. {time}",
        "today": "🙂 Hôm nay là {day}.",
        "tomorrow": "🙂 Ngày mai là {day}.",
        "yesterday": "🙂 Hôm qua là {day}.",
        "about": "🤓 Kết quả khoảng {value}.",
        "alarm set": "👍 Báo thức sẽ reo {at}.",
    },
)
