"""Korean."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.numerals import HANGUL
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack

_DAYS: Final = "월화수목금토일"
_NATIVE: Final = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_TENS: Final = ("", "열", "스물", "서른", "마흔", "쉰")
# One-syllable numbers are parts of other words: they count before a unit only.
_SHORT: Final = frozenset(
    [
        "일",
        "이",
        "삼",
        "사",
        "오",
        "육",
        "칠",
        "팔",
        "구",
        "십",
        "백",
        "천",
        "영",
        "공",
        "둘",
        "셋",
        "넷",
        "열",
        "하나",
        "한",
        "두",
        "세",
        "네",
        "만",
        "령",
        "조",
    ]
)


def _further() -> Mapping[str, int]:
    return {
        f"{_TENS[tens]}{_NATIVE[unit]}": tens * 10 + unit
        for tens in range(1, 6)
        for unit in range(10)
        if tens * 10 + unit > 10
    } | {"스무": 20, "다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9}


_SINGLE: Final[Mapping[str, str]] = {
    "한": "1", "두": "2", "세": "3", "네": "4", "열": "10", "일": "1", "이": "2", "삼": "3", "사": "4", "오": "5",
    "육": "6", "칠": "7", "팔": "8", "구": "9", "십": "10", "백": "100", "영": "0", "공": "0",
}  # fmt: skip


def _clock(now: datetime) -> str:
    half = "오전" if now.hour < 12 else "오후"
    hour = (now.hour - 1) % 12 + 1
    return f"{half} {hour}시{f' {now.minute}분' if now.minute else ' 정각'}"


def _day(now: datetime) -> str:
    return f"{now.year}년 {now.month}월 {now.day}일 {_DAYS[now.weekday()]}요일"


PACK: Final = Pack(
    code="ko",
    spaced=False,
    decimal_comma=False,
    read=partial(reader, "ko", spaced=False, also=_further, numerals=HANGUL, without=_SHORT),
    percent="퍼센트|프로",
    minus="마이너스 ",
    at=_clock,
    time=lambda now: f"지금은 {_clock(now)}이에요.",
    day=_day,
    units=(r"시간", r"분", r"초"),
    repeat=r"(?:따라 ?해(?:봐)?|따라 ?말해|반복해(?:봐|줘)?)",
    fractions=(
        (r"(?<=시간) ?반", " 30분"),
        (r"(?<=시) ?반", " 30분"),
        (r"(?<=\d분) ?반|(?<=[오십일이삼사육칠팔구]분) ?반", " 30초"),
        (r"(?:^|(?<=\s))반 ?시간", "30분"),
        *(
            (rf"(?:^|(?<=[\s\d])){word}(?= ?(?:시|분|초|퍼센트|프로|더하기|곱하기|빼기|나누기))", digit)
            for word, digit in _SINGLE.items()
        ),
        *(
            (rf"(?:(?<=더하기)|(?<=곱하기)|(?<=빼기)|(?<=나누기)|(?<=기 )){word}(?=$|[은는이 ?.,])", digit)
            for word, digit in _SINGLE.items()
        ),
    ),
    operators=(
        (r"\s*(?:나누기)\s*", " / "),
        (r"\s*(?:곱하기)\s*", " * "),
        (r"\s*(?:더하기|플러스)\s*", " + "),
        (r"\s*(?:빼기|마이너스)\s*", " - "),
        (r"\s*(\d+(?:\.\d+)?)\s*의\s*(\d+(?:\.\d+)?)\s*(?:%|퍼센트|프로)", r" \2 %of \1 "),
        (r"(?:루트)\s*(?=\d)", "√ "),
        (r"(\d+)의 ?제곱근", r"√ \1"),
        (r"(?<=\d)의 ?제곱(?!근)", " ^ 2"),
    ),
    clock=((r"(\d{1,2}) ?시(?!간)(?: ?(\d{1,2}) ?분)?", r"@\1:\2"),),
    intents={
        "timer": r"타이머|알람|알림",
        "remind": r"(?:뒤에|후에|있다가|이따가|\d ?시(?!간)|:\d\d|분에).*(?:알려|깨워|불러|말해)",
        "cancel": r"취소|꺼|멈춰|중지|삭제|지워|없애|그만",
        "list": r"얼마나|남았|몇 ?개|있어|있나|보여|무슨|뭐",
        "volume": r"볼륨|음량|소리",
        "brightness": r"밝기|화면",
        "up": r"올려|높여|크게|키워|늘려|밝게|높이",
        "down": r"내려|낮춰|작게|줄여|어둡게",
        "louder": r"^(?:조금 |좀 |더 )*크게(?: ?해)?(?: ?줘| ?주세요)?$",
        "quieter": r"^(?:조금 |좀 |더 )*(?:작게|조용히)(?: ?해)?(?: ?줘| ?주세요)?$",
        "brighter": r"^(?:조금 |좀 |더 )*밝게(?: ?해)?(?: ?줘| ?주세요)?$",
        "darker": r"^(?:조금 |좀 |더 )*어둡게(?: ?해)?(?: ?줘| ?주세요)?$",
        "highest": r"최대|제일 (?:크게|밝게)|가장 (?:크게|밝게)",
        "lowest": r"최소|제일 (?:작게|어둡게)|가장 (?:작게|어둡게)",
        "tell": r"얼마|몇|어때|알려|남았",
        "mute": r"^(?:음소거(?: ?해)?(?: ?줘| ?주세요)?|조용히 해(?: ?줘)?|조용|소리 ?꺼(?: ?줘)?)$",
        "unmute": r"음소거 ?(?:해제|취소)|소리 ?켜",
        "battery": r"배터리|충전",
        "time": r"몇 ?시|시간(?:을|이)? ?(?:알려|말해|뭐)|시각",
        "date": r"며칠|몇 ?일|무슨 ?요일|날짜|몇 ?월|몇 ?년",
        "hello": r"^(?:안녕(?:하세요)?|여보세요|하이|좋은 아침)",
        "goodbye": r"안녕히|잘 ?가|잘 ?있어|잘 ?자|바이바이|다음에 (?:봐|만나)|또 ?(?:봐|만나)|끝이야$",
        "thanks": r"고마워|고맙습니다|감사",
        "help": r"도와|도움|뭘? ?(?:할 ?수|해 ?줄)|무엇을 할 수|사용법",
        "name": r"누구(?:야|세요|니|예요)|이름",
        "how are you": r"잘 ?지내|기분이? ?어때|어떻게 ?지내",
        "joke": r"농담|웃긴|재미있는 (?:얘기|이야기)",
        "never mind": r"^(?:괜찮아|됐어|아니야|알았어|응|오케이|그만|취소|멈춰)(?:요)?$",
        "alarm": r"알람",
        "set": r"맞춰|설정|시작|켜|해 ?줘|부탁|만들",
        "to": r"\d(?: ?%| ?퍼센트| ?프로)?(?:으로|로|까지)",
        "elsewhere": r"(?<!지금)(?<!지금은)\b(?!지금|오늘|여기)\w{2,}(?:은|는|에서|에) ?(?:지금 ?)?몇 ?시",
        "tomorrow": r"내일",
        "yesterday": r"어제",
        "morning": r"오전|아침|새벽",
        "evening": r"오후|저녁|밤",
        "again": r"^(?:다시|한 ?번 더|1번 더)(?: ?(?:말해|얘기해))?(?: ?(?:줘|봐|주세요))?$|^뭐라고",
        "left": r"얼마나 남았|몇 ?분 ?남았",
    },
    replies={
        "greeting": "😊 안녕하세요! 무엇을 도와드릴까요?",
        "help": "😊 시간과 날짜, 계산, 타이머, 음량과 밝기 조절, 따라 말하기를 할 수 있어요. "
        "진짜 대화에는 언어 모델이 필요해요.",
        "unknown": "🤷 언어 모델이 없어서 대답할 수 없어요. 시간이나 계산, 타이머를 물어보세요.",
        "unknown again": "🤷 그것도 모르겠어요.",
        "nothing": "😕 아무것도 못 들었어요. 다시 말해 주세요.",
        "thanks": "😊 천만에요!",
        "goodbye": "🙂 안녕히 가세요!",
        "name": "😊 저는 음성 비서 {name}예요. 언어 모델이 없으면 아는 것이 적어요.",
        "how are you": "😊 잘 지내요, 고마워요!",
        "never mind": "🙂 알겠어요.",
        "joke": (
            "😆 시계가 왜 병원에 갔을까요? 늦어서요.",
            "😆 마이크가 스피커에게 말했어요. 다 들려요.",
            "😆 로봇은 왜 겁이 없을까요? 신경이 강철이라서요.",
        ),
        "how to repeat": "🙂 따라 해, 라고 한 다음 말해 주세요.",
        "sum": "🤓 답은 {value}입니다.",
        "zero": "🤔 영으로는 나눌 수 없어요.",
        "large": "😳 그 수는 너무 커요.",
        "how long": "🤔 얼마 동안요? 예를 들어, 오 분 타이머 맞춰 줘, 라고 말해 주세요.",
        "too long": "🤔 타이머는 1초부터 24시간까지예요.",
        "no timers": "😔 여기서는 타이머를 쓸 수 없어요.",
        "timer set": "👍 타이머를 맞췄어요: {duration}.",
        "timers": "🙂 타이머가 {count}개 있어요. 첫 번째는 {duration} 남았어요.",
        "timer left": "🙂 {duration} 남았어요.",
        "no timer": "🙂 그런 타이머가 없거나 여러 개예요.",
        "cancelled": "👍 타이머를 취소했어요.",
        "failed": "😔 잘 안 됐어요.",
        "volume now": "😀 음량은 {value}입니다.",
        "brightness now": "😎 밝기는 {value}입니다.",
        "no volume": "😔 이 기기의 음량은 바꿀 수 없어요.",
        "no brightness": "😔 이 기기의 밝기는 바꿀 수 없어요.",
        "level": "🤔 0부터 100까지의 숫자를 말해 주세요.",
        "battery": "🙂 배터리는 {value}퍼센트예요.",
        "no battery": "😔 이 기기는 배터리를 알려주지 않아요.",
        "elsewhere": "🤔 여기 시간만 알아요. {time}",
        "today": "🙂 오늘은 {day}이에요.",
        "tomorrow": "🙂 내일은 {day}이에요.",
        "yesterday": "🙂 어제는 {day}이었어요.",
        "about": "🤓 답은 약 {value}입니다.",
        "alarm set": "👍 알람을 {at}에 맞췄어요.",
    },
)
