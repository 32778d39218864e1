"""Chinese, in simplified and traditional characters."""

from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.numerals import HAN
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack

_DAYS: Final = "一二三四五六日"


def _clock(now: datetime) -> str:
    part = "凌晨" if now.hour < 6 else "上午" if now.hour < 12 else "下午" if now.hour < 18 else "晚上"
    hour = now.hour if now.hour <= 12 else now.hour - 12
    return f"{part}{hour}点{f'{now.minute}分' if now.minute else '整'}"


def _day(now: datetime) -> str:
    return f"{now.year}年{now.month}月{now.day}日，星期{_DAYS[now.weekday()]}"


PACK: Final = Pack(
    code="zh",
    spaced=False,
    decimal_comma=False,
    read=partial(reader, "zh", spaced=False, numerals=HAN),
    percent="%",
    minus="负",
    at=_clock,
    time=lambda now: f"现在是{_clock(now)}。",
    day=_day,
    units=(r"(?:个|個)?(?:小时|小時|钟头|鐘頭)", r"(?:分钟|分鐘|分)", r"(?:秒钟|秒鐘|秒)"),
    repeat=r"(?:请|請)?(?:跟我说|跟我說|跟着我说|跟著我說|重复|重複|复述)(?:一下|一遍)?",
    fractions=(
        (r"(\S+?)[个個]半(?:小时|小時|钟头|鐘頭)", r"\1小时30分钟"),
        (r"半[个個]?(?:小时|小時|钟头|鐘頭)", "30分钟"),
        (r"一刻[钟鐘]", "15分钟"),
        (r"三刻[钟鐘]", "45分钟"),
        (r"半分[钟鐘]", "30秒"),
        (r"(?<=分)[钟鐘]?半", "钟30秒"),
        (r"(?<=[高低大小亮暗声聲])一(?=[点點])", ""),
        (r"(?<=[点點])半", "30分"),
        (r"百分之([〇零一二三四五六七八九十百\d]+)", r"\1%"),
    ),
    operators=(
        (r"\s*(?:除以)\s*", " / "),
        (r"\s*(?:乘以|乘)\s*", " * "),
        (r"\s*(?:加上|加)\s*(?=[\d(])", " + "),
        (r"\s*(?:减去|减|減去|減)\s*(?=[\d(])", " - "),
        (r"\s*(\d+(?:\.\d+)?)\s*的\s*(\d+(?:\.\d+)?)\s*%", r" \2 %of \1 "),
        (r"(\d+)的平方根|根号\s*(\d+)|根號\s*(\d+)", r"√ \1\2\3"),
        (r"(?<=\d)的(\d+)次方", r" ^ \1"),
        (r"(?<=\d)的平方(?!根)", " ^ 2"),
    ),
    clock=(
        (r"(\d{1,2})[点點](?:1刻|一刻)", r"@\1:15"),
        (r"(\d{1,2})[点點](?:(\d{1,2})分?)?(?![\d点點])", r"@\1:\2"),
    ),
    intents={
        "timer": r"定时|定時|计时|計時|闹钟|鬧鐘|倒计时|倒計時",
        "remind": r"(?:后|後|之后|以后|以後).*(?:提醒|叫|告诉|告訴|通知)|(?:提醒|叫).*(?:后|後)|[点點:].*(?:提醒|叫)我|叫醒我",
        "cancel": r"取消|停止|关掉|關掉|关闭|關閉|删除|刪除|停掉|停了",
        "list": r"还有多久|還有多久|还剩|還剩|剩下|剩多少|多久|有哪些|几个|幾個|有没有|有沒有",
        "volume": r"音量|声音|聲音",
        "brightness": r"亮度|屏幕|螢幕",
        "up": r"(?<!最)大一?[点點]|调高|調高|调大|調大|增加|增大|提高|高一?[点點]|亮一?[点點]|更大",
        "down": r"小一?[点點]|调低|調低|调小|調小|减小|減小|降低|低一?[点點]|暗一?[点點]|更小",
        "louder": r"^(?:请|請)?(?:再|更)?大(?:声|聲)?(?:一)?[点點](?:吧|儿)?$|^大声[点點]?$",
        "quieter": r"^(?:请|請)?(?:再|更)?小(?:声|聲)?(?:一)?[点點](?:吧|儿)?$|^小声[点點]?$",
        "brighter": r"^(?:请|請)?(?:再|更)?亮一?[点點](?:吧)?$",
        "darker": r"^(?:请|請)?(?:再|更)?暗一?[点點](?:吧)?$",
        "highest": r"最大|最高|最亮",
        "lowest": r"最小|最低|最暗",
        "tell": r"多少|多大|是几|是幾|怎么样|什么|还有|還有",
        "mute": r"^(?:请|請)?(?:静音|靜音|安静|安靜|闭嘴|閉嘴|别说话|別說話|关掉声音|關掉聲音|把声音关掉)$",
        "unmute": r"取消静音|取消靜音|打开声音|打開聲音|恢复声音|恢復聲音",
        "battery": r"电量|電量|电池|電池",
        "time": r"几点|幾點|时间是|現在時間|现在时间|什么时间|什麼時間|几时|幾時|什么时候了|報時|报时",
        "date": r"几号|幾號|星期几|星期幾|礼拜几|禮拜幾|周几|週幾|日期|几月|幾月|哪年|哪一年|几年",
        "hello": r"^(?:[你您]好|嗨|喂|哈啰|早上好|早安|下午好|晚上好|大家好)",
        "goodbye": r"再见|再見|拜拜|晚安|回头见|就这样$|就這樣$",
        "thanks": r"谢谢|謝謝|多谢|多謝|感谢|感謝",
        "help": r"帮助|幫助|帮帮我|幫幫我|[你您](?:能|会|會|可以)(?:做|干|幹)?(?:些)?(?:什么|什麼|啥)",
        "name": r"[你您]是[谁誰]|[你您]叫(?:什么|什麼|啥)|[你您]的名字",
        "how are you": r"[你您](?:好吗|好嗎|还好吗|怎么样)|最近(?:好吗|怎么样|怎麼樣)",
        "joke": r"笑话|笑話",
        "never mind": r"^(?:没事|沒事|算了|不用了?|没关系|沒關係|好的?|停|取消)$",
        "alarm": r"闹钟|鬧鐘",
        "set": r"设|設|定|开始|開始|来一?个|帮我",
        "to": r"[到至成为為](?=\d)",
        "elsewhere": r"^(?!现在|現在|请问|請問|今天|你|您|告诉|告訴|几|幾|报|報)[^\W\d]{2,}(?:的?时间|的?時間|现在几点|現在幾點)",
        "tomorrow": r"明天",
        "yesterday": r"昨天",
        "morning": r"早上|上午|凌晨|早晨",
        "evening": r"下午|晚上|傍晚",
        "again": r"^(?:请|請)?(?:再说一[遍次]|再說一[遍次]|再说1[遍次]|再說1[遍次]|重复一遍|你说什么|你說什麼)$",
        "left": r"(?:还有|還有|还剩|還剩|剩)(?:下)?(?:多久|多少时间|多少時間)",
    },
    replies={
        "greeting": "😊 你好！我能帮你做什么？",
        "help": "😊 我会报时间和日期、计算、定时、调节音量和亮度，还会跟你说。真正的对话需要语言模型。",
        "unknown": "🤷 没有语言模型，我回答不了这个问题。可以问我时间、算术或定时器。",
        "unknown again": "🤷 这个我也不知道。",
        "nothing": "😕 我没有听到。请再说一遍。",
        "thanks": "😊 不客气！",
        "goodbye": "🙂 再见！",
        "name": "😊 我是{name}，你的语音助手。没有语言模型时，我只会几件事。",
        "how are you": "😊 我很好，谢谢！",
        "never mind": "🙂 好的。",
        "joke": (
            "😆 手表为什么去看医生？因为它走得慢。",
            "😆 麦克风对喇叭说：小声点，我都听到了。",
            "😆 机器人为什么不害怕？因为它的神经是钢做的。",
        ),
        "how to repeat": "🙂 请说：跟我说，然后是要说的话。",
        "sum": "🤓 等于{value}。",
        "zero": "🤔 零不能做除数。",
        "large": "😳 这个数对我来说太大了。",
        "how long": "🤔 多长时间？比如说：定时五分钟。",
        "too long": "🤔 定时器可以从一秒到二十四小时。",
        "no timers": "😔 这里不能定时。",
        "timer set": "👍 已定时{duration}。",
        "timers": "🙂 有{count}个定时器，最近的还有{duration}。",
        "timer left": "🙂 还有{duration}。",
        "no timer": "🙂 没有这个定时器，或者有好几个。",
        "cancelled": "👍 定时器已取消。",
        "failed": "😔 没有成功。",
        "volume now": "😀 音量是{value}。",
        "brightness now": "😎 亮度是{value}。",
        "no volume": "😔 我调不了这个设备的音量。",
        "no brightness": "😔 我调不了这个设备的亮度。",
        "level": "🤔 请说一个零到一百的数。",
        "battery": "🙂 电量是百分之{value}。",
        "no battery": "😔 这个设备没有告诉我电量。",
        "elsewhere": "🤔 我只知道这里的时间。{time}",
        "today": "🙂 今天是{day}。",
        "tomorrow": "🙂 明天是{day}。",
        "yesterday": "🙂 昨天是{day}。",
        "about": "🤓 大约等于{value}。",
        "alarm set": "👍 闹钟定在{at}。",
    },
)
