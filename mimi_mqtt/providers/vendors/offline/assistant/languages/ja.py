"""Japanese."""

from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.numerals import HAN
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack

_DAYS: Final = "月火水木金土日"


def _clock(now: datetime) -> str:
    half = "午前" if now.hour < 12 else "午後"
    return f"{half}{now.hour % 12}時{f'{now.minute}分' if now.minute else 'ちょうど'}"


def _day(now: datetime) -> str:
    return f"{now.year}年{now.month}月{now.day}日、{_DAYS[now.weekday()]}曜日"


PACK: Final = Pack(
    code="ja",
    spaced=False,
    decimal_comma=False,
    read=partial(reader, "ja", spaced=False, also=lambda: {"ゼロ": 0}, numerals=HAN),
    percent="パーセント",
    minus="マイナス",
    at=_clock,
    time=lambda now: f"{_clock(now)}です。",
    day=_day,
    units=(r"時間", r"分間?", r"秒間?"),
    repeat=r"(?:私の?(?:後|あと)に続いて|復唱して|繰り返して|くりかえして)",
    fractions=(
        (r"半時間|三十分間", "30分"),
        (r"(?<=時間)半", "30分"),
        (r"(?<=分)半", "30秒"),
        (r"一つ|ひとつ", "1"),
        (r"(?<=時)半", "30分"),
    ),
    operators=(
        (r"\s*(?:割る|わる|割り)\s*(?=[\d(])", " / "),
        (r"\s*(?:掛ける|かける|掛け)\s*(?=[\d(])", " * "),
        (r"\s*(?:足す|たす|プラス|足し)\s*(?=[\d(])", " + "),
        (r"\s*(?:引く|ひく|マイナス|引き)\s*(?=[\d(])", " - "),
        (r"\s*(\d+(?:\.\d+)?)\s*の\s*(\d+(?:\.\d+)?)\s*(?:%|パーセント)", r" \2 %of \1 "),
        (r"(?:ルート|√)\s*(?=\d)", "√ "),
        (r"(\d+)の平方根", r"√ \1"),
        (r"(?<=\d)の(\d+)乗", r" ^ \1"),
    ),
    clock=((r"(\d{1,2})時(?!間)(?:(\d{1,2})分)?", r"@\1:\2"),),
    intents={
        "timer": r"タイマー|アラーム|目覚まし",
        "remind": r"(?:後|あと|たったら|経ったら|\d時(?!間)|:\d\d|分に).*(?:教えて|知らせて|起こして|呼んで|言って)",
        "cancel": r"(?:止めて|とめて|キャンセル|取り消|消して|削除|やめて|停止|解除|オフ)",
        "list": r"(?:残り|あと何|あとどれ|どのくらい|どれくらい|いくつ|何分|見せて|ある|一覧)",
        "volume": r"音量|ボリューム|音(?:を|は|が)|声",
        "brightness": r"明るさ|画面|輝度",
        "up": r"上げて|あげて|大きく|高く|増や|アップ|明るく",
        "down": r"下げて|さげて|小さく|低く|減ら|ダウン|暗く",
        "louder": r"^(?:もっと|もう少し|ちょっと)?(?:音を|声を|音量を)?大きく(?:して)?(?:ください)?$",
        "quieter": r"^(?:もっと|もう少し|ちょっと)?(?:音を|声を|音量を)?(?:小さく|静かに)(?:して)?(?:ください)?$",
        "brighter": r"^(?:もっと|もう少し)?(?:画面を)?明るく(?:して)?(?:ください)?$",
        "darker": r"^(?:もっと|もう少し)?(?:画面を)?暗く(?:して)?(?:ください)?$",
        "highest": r"最大|マックス|一番(?:大きく|明るく)",
        "lowest": r"最小|一番(?:小さく|暗く)|最低",
        "tell": r"いくつ|どのくらい|どれくらい|何|教えて|は$|残り",
        "mute": r"^(?:ミュート(?:して)?|消音(?:して)?|静かにして|黙って|音を消して)(?:ください)?$",
        "unmute": r"ミュート(?:を)?解除|消音(?:を)?解除|音を(?:出して|戻して)",
        "battery": r"バッテリー|電池|充電",
        "time": r"何時(?!間)|なんじ|時間(?:を教えて|は|わかる)|時刻|今の時間",
        "date": r"何日|何曜日|なんようび|日付|今日は何(?!時)|何月|何年",
        "hello": r"^(?:こんにち[はわ]|こんばん[はわ]|おはよう(?:ございます)?|やあ|もしもし|ハロー)",
        "goodbye": r"さよ(?:う)?なら|またね|また明日|バイバイ|おやすみ|以上です$|終わり$",
        "thanks": r"ありがとう|どうも$|サンキュー",
        "help": r"助けて|ヘルプ|何ができ|なにができ|使い方",
        "name": r"(?:あなた|君|きみ)は(?:誰|だれ)|名前|誰ですか",
        "how are you": r"元気(?:です)?か?|調子は",
        "joke": r"冗談|ジョーク|面白い(?:話|こと)|笑わせて",
        "never mind": r"^(?:何でもない|なんでもない|大丈夫|いいよ|もういい|はい|オーケー|ストップ|やめて|キャンセル)(?:です)?$",
        "alarm": r"アラーム|目覚まし",
        "set": r"セット|設定|かけて|つけて|スタート|始めて|お願い|作って",
        "to": r"\d(?: ?%|パーセント)?(?:に|まで)",
        "elsewhere": r"(?<!今)(?<!ここ)の(?:今の)?時間|(?<!今)(?<!ここ)(?:では|は)(?:今|いま)何時",
        "tomorrow": r"明日|あした",
        "yesterday": r"昨日|きのう",
        "morning": r"午前|朝",
        "evening": r"午後|夜|夕方|晩",
        "again": r"^(?:もう一度|もう1度|もう一回|もう1回|もういちど)(?:言って|お願い(?:します)?)?(?:ください)?$|^何て言った",
        "left": r"(?:残り時間|あと(?:何分|どのくらい|どれくらい))",
    },
    replies={
        "greeting": "😊 こんにちは！何をしましょうか？",
        "help": "😊 時刻と日付、計算、タイマー、音量と明るさの調整、復唱ができます。本当の会話には言語モデルが必要です。",
        "unknown": "🤷 言語モデルがないので、答えられません。時刻や計算、タイマーなら分かります。",
        "unknown again": "🤷 それも分かりません。",
        "nothing": "😕 聞こえませんでした。もう一度お願いします。",
        "thanks": "😊 どういたしまして！",
        "goodbye": "🙂 さようなら！",
        "name": "😊 {name}です。音声アシスタントです。言語モデルがないので、少しのことしかできません。",
        "how are you": "😊 元気です。ありがとうございます。",
        "never mind": "🙂 わかりました。",
        "joke": (
            "😆 時計が医者に行きました。遅れていたからです。",
            "😆 布団が吹っ飛んだ。",
            "😆 アルミ缶の上にあるみかん。",
        ),
        "how to repeat": "🙂 繰り返して、と言ってから言葉をどうぞ。",
        "sum": "🤓 {value}です。",
        "zero": "🤔 ゼロで割ることはできません。",
        "large": "😳 その数は大きすぎます。",
        "how long": "🤔 どのくらいですか？例えば、5分のタイマー、と言ってください。",
        "too long": "🤔 タイマーは1秒から24時間までです。",
        "no timers": "😔 ここではタイマーを使えません。",
        "timer set": "👍 タイマーを{duration}に設定しました。",
        "timers": "🙂 タイマーは{count}個です。最初のものはあと{duration}です。",
        "timer left": "🙂 あと{duration}です。",
        "no timer": "🙂 そのタイマーはないか、いくつもあります。",
        "cancelled": "👍 タイマーを取り消しました。",
        "failed": "😔 うまくいきませんでした。",
        "volume now": "😀 音量は{value}です。",
        "brightness now": "😎 明るさは{value}です。",
        "no volume": "😔 この機器の音量は変えられません。",
        "no brightness": "😔 この機器の明るさは変えられません。",
        "level": "🤔 0から100までの数を言ってください。",
        "battery": "🙂 バッテリーは{value}パーセントです。",
        "no battery": "😔 この機器のバッテリーは分かりません。",
        "elsewhere": "🤔 ここの時刻しか分かりません。{time}",
        "today": "🙂 今日は{day}です。",
        "tomorrow": "🙂 明日は{day}です。",
        "yesterday": "🙂 昨日は{day}でした。",
        "about": "🤓 およそ{value}です。",
        "alarm set": "👍 アラームを{at}に設定しました。",
    },
)
