"""Vietnamese."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack
from mimi_mqtt.providers.vendors.offline.assistant.languages.reminder_words import ReminderWords

_DAYS: Final = ("thứ hai", "thứ ba", "thứ tư", "thứ năm", "thứ sáu", "thứ bảy", "chủ nhật")
_PARTS_OF_DAY: Final = ((1, "đêm"), (11, "sáng"), (13, "trưa"), (18, "chiều"), (22, "tối"), (24, "đêm"))
_UNITS: Final = ["không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín"]


def _further() -> Mapping[str, int]:
    """Spoken forms that the Unicode data has not: hai lăm, hai mươi tư, một trăm linh năm, không trăm năm mươi."""
    tens: dict[str, int] = {"mười năm": 15} | {
        f"mười {word}": 10 + number for number, word in enumerate(_UNITS) if number
    }
    for number in range(2, 10):
        tens[f"{_UNITS[number]} mươi"] = number * 10
        for unit, word in enumerate(_UNITS[1:], 1):
            tens[f"{_UNITS[number]} mươi {word}"] = number * 10 + unit
        for unit, words in ((1, ("mốt",)), (4, ("tư",)), (5, ("lăm", "nhăm"))):
            for word in words:
                tens[f"{_UNITS[number]} mươi {word}"] = tens[f"{_UNITS[number]} {word}"] = number * 10 + unit
    said = {"tư": 4, "bẩy": 7, "mươi": 10, **tens}
    after = {"": 0, "mười": 10, "mười lăm": 15, **tens}
    after |= {f"{zero} {word}": unit for zero in ("linh", "lẻ") for unit, word in enumerate(_UNITS) if unit}
    for hundreds, word in enumerate(_UNITS):
        said |= {f"{word} trăm {rest}".strip(): hundreds * 100 + value for rest, value in after.items()}
    return said


def _clock(now: datetime) -> str:
    hour = now.hour
    part = next(part for end, part in _PARTS_OF_DAY if hour < end)
    return f"{(hour - 1) % 12 + 1} giờ{f' {now.minute} phút' if now.minute else ''} {part}"


def _day(now: datetime) -> str:
    return f"{_DAYS[now.weekday()]}, ngày {now.day} tháng {now.month} năm {now.year}"


_REMINDERS: Final = ReminderWords(
    noun=r"\b(?:lời nhắc|nhắc nhở|lịch nhắc)\b",
    remind=r"\bnhắc(?: nhở)? (?:tôi|mình|em|anh|chị|con|cho tôi)\b",
    command=r"(?:\bhãy |\blàm ơn |\bgiúp tôi |\bnhớ )*\b(?:nhắc(?: nhở)?(?: cho)?(?: (?:tôi|mình|em|anh|chị|con))?|gọi (?:tôi|mình|em)|báo (?:cho )?(?:tôi|mình|em)|đánh thức (?:tôi|mình|em)|(?:đặt|tạo|thêm)(?: một| 1)? lời nhắc)\b",
    every=r"\b(?:mỗi|hàng|hằng|các)\b",
    daily=r"\b(?:mỗi|hàng|hằng) (?:ngày|sáng|tối|chiều|đêm)\b",
    weekdays=r"\b(?:(?:mỗi |các |vào )*ngày (?:thường|làm việc|trong tuần)|từ thứ (?:hai|2) đến thứ (?:sáu|6))\b",
    weekends=r"\b(?:mỗi |vào )?cuối tuần\b",
    today=r"\bhôm nay\b|\b(?:sáng|trưa|chiều|tối|đêm) nay\b",
    overmorrow=r"\bngày kia\b|\bngày mốt\b",
    days=(
        r"\bthứ (?:hai|2)\b",
        r"\bthứ (?:ba|3)\b",
        r"\bthứ (?:tư|4)\b",
        r"\bthứ (?:năm|5)\b",
        r"\bthứ (?:sáu|6)\b",
        r"\bthứ (?:bảy|7)\b",
        r"\bchủ nhật\b",
    ),
    before_day=r"(?:\bvà )?(?:\b(?:vào|mỗi|các|hàng|hằng) )*",
    before_time=r"\b(?:lúc|vào|vào lúc|khoảng)",
    after_time=r"(?:phút |giờ )*(?:sáng|trưa|chiều|tối|đêm)?(?: (?:nay|mai))?",
    before_delay=r"\b(?:sau|trong)",
    after_delay=r"(?:nữa|sau)?",
    lead=r"(?:là|để|rằng|về việc|về|việc|phải|và|tôi|vào)\b",
    trail=r"\b(?:(?:hàng|hằng|mỗi) tuần|nhé|nha|với|đi|ạ|vào|lúc|mai)",
    change=r"\b(?:đổi|dời|chuyển|sửa|lùi)\b",
    show=r"\b(?:những .*nào|nào|gì|mấy|bao nhiêu|liệt kê|xem)\b",
    names=("thứ hai", "thứ ba", "thứ tư", "thứ năm", "thứ sáu", "thứ bảy", "chủ nhật"),
    joint=" và ",
    said_today="hôm nay",
    said_tomorrow="ngày mai",
    said_on="{day}",
    said_daily="mỗi ngày",
    said_weekdays="các ngày trong tuần",
    said_weekends="cuối tuần",
    said_every="mỗi {days}",
    alarm="báo thức {when}",
    reminder="{when}: {text}",
    replies={
        "set": "👍 Tôi sẽ nhắc bạn {when}: {text}.",
        "changed": "👍 Đã đổi: {when}.",
        "when": "🤔 Khi nào? Ví dụ: nhắc tôi chín giờ sáng mai gọi cho mẹ.",
        "past": "🤔 Giờ đó đã qua rồi.",
        "nothing": "🙂 Chưa đặt gì cả.",
        "removed": "👍 Đã hủy.",
        "which": "🤔 Tôi không biết bạn muốn nói cái nào.",
    },
)

PACK: Final = Pack(
    reminders=_REMINDERS,
    code="vi",
    read=partial(
        reader,
        "vi",
        thousands=("nghìn", "ngàn"),
        millions=("triệu",),
        also=_further,
        joins=frozenset({"linh", "lẻ"}),
        without=frozenset({"không", "linh", "lẻ"}),
    ),
    percent=r"phần trăm",
    minus="âm ",
    at=lambda now: f"lúc {_clock(now)}",
    time=lambda now: f"Bây giờ là {_clock(now)}.",
    day=_day,
    marked=True,
    label=r"\b(?:hẹn giờ|báo thức|đếm ngược) (?:tên là |để |cho )?"
    r"((?:nấu|luộc|nướng|pha|hấp|hầm|chiên|kho|giặt|học|ngủ|tập)(?: [^\W\d]+)?)",
    units=(r"(?:giờ|tiếng)(?: đồng hồ)?\b", r"phút\b", r"giây\b"),
    repeat=r"(?:hãy )?(?:nhắc lại|lặp lại|nói lại|nói theo tôi)(?: theo tôi)?",
    fractions=(
        (r"\b(\w+(?: \w+)?) (?:giờ|tiếng)(?: đồng hồ)? rưỡi\b", r"\1 giờ 30 phút"),
        (r"\b(\w+(?: \w+)?) phút rưỡi\b", r"\1 phút 30 giây"),
        (r"\b(nghìn|ngàn) rưỡi\b", r"\1 năm trăm"),
        (r"\btriệu rưỡi\b", "triệu năm trăm nghìn"),
        (r"\btrăm rưỡi\b", "trăm năm mươi"),
        (r"\bnửa (?:giờ|tiếng)(?: đồng hồ)?\b", "30 phút"),
        (r"\bnửa phút\b", "30 giây"),
        (r"\bba phần tư (?:giờ|tiếng)(?: đồng hồ)?\b", "45 phút"),
        (r"\b(?:còn|về|xuống|lên|ở|mức) (?:một )?nửa\b", "còn 50%"),
        (r"\bmột nửa của\b", "50% của"),
        (r"\bkhông(?= (?:cộng|trừ|nhân)\b)", "0"),
        (r"\b(cộng|trừ|trừ đi|cộng với|nhân|nhân với|chia|chia cho|về|xuống|mức) không\b", r"\1 0"),
    ),
    operators=(
        (r"(?<=\d) (?:phẩy|chấm) (\d+)(?: (\d)\b)?(?: (\d)\b)?", r".\1\2\3"),
        (r"\bchia(?: cho)?\b", "/"),
        (r"\bnhân(?: với)?\b|\blần\b(?= ?\d)", "*"),
        (r"\bcộng(?: với)?\b(?! đồng)", "+"),
        (r"\btrừ(?: đi)?\b", "-"),
        (r"(?:%|\bphần trăm) (?:của )?(?=\d)", " %of "),
        (r"\bcăn (?:bậc (?:hai|2) )?(?:của )?(?=\d)", "√ "),
        (r"\bmũ\b(?= ?\d)", "^"),
        (r"\bbình phương (?:của )?(\d+(?:\.\d+)?)", r"\1 ^ 2"),
        (r"(?<=\d) bình phương\b", " ^ 2"),
    ),
    clock=(
        (r"\b12 ?(?:giờ|h)(?: ?(\d{1,2}))?(?: phút)? đêm\b", r"@0:\1"),
        (r"\b(\d{1,2}) ?(?:giờ|h) kém (\d{1,2})\b", r"@\1:-\2"),
        (r"\b(\d{1,2})(?: ?(?:giờ|h))? rưỡi\b", r"@\1:30"),
        (r"\b(?:lúc|vào) (\d{1,2}) ?(?:giờ|h)(?: ?(\d{1,2})\b)?", r"@\1:\2"),
        (
            r"\b(\d{1,2}) ?(?:giờ|h)(?: ?(\d{1,2}))?(?: phút)?(?= (?:sáng|trưa|chiều|tối|đêm)\b)",
            r"@\1:\2",
        ),
        (
            r"\b(?:báo thức|dậy|đánh thức \w+) (?!.*\b(?:nữa|sau|tới)\b)(\d{1,2}) ?(?:giờ|h)(?: ?(\d{1,2}))?",
            r"@\1:\2",
        ),
    ),
    intents={
        "timer": r"\b(?:hẹn giờ|đặt giờ|bấm giờ|canh giờ|đếm giờ|đếm ngược|báo thức|đồng hồ hẹn|bộ đếm|timer)\b"
        r"|^(?:hãy |giúp |đặt )*hẹn (?=\d)",
        "remind": r"\b(?:nhắc|gọi(?! điện)|đánh thức|báo(?! nhiêu| chí| cáo))\b",
        "cancel": r"\b(?:hủy|huỷ|xóa|xoá|tắt|dừng|bỏ|ngừng)\b",
        "list": r"\b(?:còn (?:bao lâu|bao nhiêu|mấy|lại)|bao lâu|những|nào|liệt kê|đang chạy|mấy)\b",
        "volume": r"\bâm lượng\b|\bâm thanh\b|\bvolume\b|\bloa\b(?!.*\b(?:giá|mua)\b)"
        r"|^(?:\S+ )?(?:tăng|giảm|bé|nhỏ|to) tiếng\b|\bto (?:hết cỡ|nhất)\b",
        "brightness": r"\bđộ sáng\b|\bmàn hình\b",
        "up": r"\b(?:tăng|to hơn|lớn hơn|to lên|lớn lên|sáng lên|sáng hơn|cao hơn|to tiếng)\b",
        "down": r"\b(?:giảm|nhỏ hơn|nhỏ lại|nhỏ đi|bé lại|tối hơn|tối đi|tối lại|thấp hơn|nhỏ xuống|hạ"
        r"|nhỏ (?:loa|âm lượng)|(?:bé|nhỏ) tiếng)\b",
        "louder": r"^(?:\S+ ){0,3}(?:to|lớn) (?:hơn|lên)\b(?: \S+){0,2}$",
        "quieter": r"^(?:\S+ ){0,3}(?:nhỏ|bé) (?:hơn|lại|xuống|đi|thôi)\b(?: \S+){0,2}$|^ồn quá\b",
        "brighter": r"^(?:(?:cho|làm|hãy) )*sáng (?:hơn|lên)\b(?: \S+){0,2}$",
        "darker": r"^(?:(?:cho|làm|hãy) )*tối (?:hơn|đi|lại|xuống)\b(?: \S+){0,2}$",
        "highest": r"\b(?:tối đa|lớn nhất|to nhất|cao nhất|hết cỡ|sáng nhất)\b",
        "lowest": r"\b(?:tối thiểu|nhỏ nhất|thấp nhất|tối nhất)\b",
        "tell": r"\bbao nhiêu\b|\blà mấy\b|\bthế nào\b|\bcho (?:tôi )?biết\b|\bcòn\b|\bkiểm tra\b",
        "mute": r"^(?:hãy |làm ơn )?(?:tắt (?:tiếng|loa|âm|âm thanh)|im lặng|im đi|im mồm|yên lặng)\b(?: \S+)?$",
        "unmute": r"\b(?:bật|mở) (?:loa|tiếng|âm thanh|lại tiếng|lại âm thanh)\b(?!.*(?:nhất|\d))",
        "battery": r"\bpin\b(?! (?:mặt trời|năng lượng))",
        "time": r"(?<!lúc )\bmấy giờ(?: rồi| vậy| thế| nhỉ| ạ| hả| em| anh| chị| bạn| đấy| đó| không| được| ta)*$"
        r"|\b(?:bây giờ|hiện tại|hiện giờ)(?: đang| đã)?(?: là)? (?:bao nhiêu giờ|mấy giờ)\b|\bgiờ là mấy\b"
        r"|\bxem (?:giúp tôi )?giờ\b|\bcho (?:tôi |mình |em |anh )?(?:biết|hỏi|xem) giờ\b"
        r"|\bthời gian (?:hiện tại|bây giờ)\b|^(?:giờ|thời gian)$",
        "date": r"\b(?:ngày|thứ|tháng|(?:là|nay) 5) (?:mấy|bao nhiêu|gì|nào)\b|\bngày tháng\b|\bhôm nay là (?:ngày|thứ)\b"
        r"|\bmùng mấy\b|\bbiết ngày(?: hôm nay)?$|^ngày hôm nay$",
        "hello": r"^(?:xin )?chào\b(?: \S+){0,2}$|^(?:alo|a lô|hello|hi)\b(?: \S+)?$",
        "goodbye": r"\btạm biệt\b|\bhẹn gặp lại\b|^chúc ngủ ngon\b|\bthế thôi\b$|^(?:bai bai|bye bye|bye)\b",
        "thanks": r"\bc[ảá]m ơn\b",
        "help": r"\bgiúp (?:tôi|với|đỡ)(?: với)?$|\bgiúp (?:được )?gì\b|\blàm được (?:gì|những gì)\b|\btrợ giúp\b"
        r"|\b(?:có thể|biết) làm (?:được )?(?:những )?gì\b",
        "name": r"\b(?:bạn|em|mày) (?:là ai|tên (?:là )?gì)\b|\btên (?:của )?(?:bạn|em) (?:là )?gì\b"
        r"|^(?:hãy )?(?:tự )?giới thiệu (?:bản thân|về bạn|đi)",
        "how are you": r"\b(?:khỏe|khoẻ) không\b|^(?:bạn|em) (?:có )?(?:thế nào|ổn không)\b|\b(?:dạo này|hôm nay bạn) thế nào",
        "joke": r"\b(?:chuyện|truyện) (?:cười|vui|hài)\b|^(?:hãy )?(?:nói|kể) (?:gì|cái gì|điều gì)(?: đó)? (?:vui|hài)\b",
        "never mind": r"^(?:thôi )?(?:thôi|không có gì|kệ đi|bỏ qua(?: đi)?|được rồi|dừng lại|dừng|ok"
        r"|không (?:cần|sao)(?: nữa| đâu)?)(?: nhé| ạ)?$",
        "alarm": r"\bbáo thức\b",
        "set": r"\b(?:đặt|cài|bật|tạo|bắt đầu|hãy)\b",
        "to": r"\b(?:lên|xuống|tới|đến|thành|còn|về) (?=\d)",
        "elsewhere": r"\bở (?!đây\b)\w+",
        "tomorrow": r"\b(?:ngày mai|mai là)\b",
        "yesterday": r"\bhôm qua\b",
        "morning": r"\bsáng\b",
        "evening": r"(?:@\d+:-?\d*|phút) (?:chiều|tối|đêm)\b|@[123]:\d* (?:phút )?trưa\b"
        r"|\b(?:chiều|tối|đêm) (?:nay|mai)\b",
        "wake": r"\b(?:đánh thức|báo thức|thức dậy|dậy)\b",
        "again": r"^(?:hãy )?(?:nhắc lại|nói lại|lặp lại)(?: (?:đi|điều đó|lần nữa|một lần nữa|1 lần nữa))*$"
        r"|^bạn (?:vừa )?nói gì(?: vậy| thế)?$",
        "left": r"\bcòn (?:bao lâu|bao nhiêu (?:thời gian|phút|giây)|mấy (?:phút|giây))(?: nữa)?(?: hết giờ| vậy| ạ| nhỉ| không)*$",
    },
    replies={
        "greeting": "😊 Xin chào! Tôi có thể giúp gì cho bạn?",
        "help": "😊 Tôi có thể cho biết giờ và ngày, tính toán, hẹn giờ, đặt báo thức và lời nhắc, chỉnh âm lượng và độ sáng, và nhắc lại lời bạn. "
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
