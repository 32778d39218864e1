"""German."""

from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack
from mimi_mqtt.providers.vendors.offline.assistant.languages.reminder_words import ReminderWords

_DAYS: Final = ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"]
_MONTHS: Final = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
]


def _clock(now: datetime) -> str:
    return f"{now.hour} Uhr{f' {now.minute}' if now.minute else ''}"


def _day(now: datetime) -> str:
    return f"{_DAYS[now.weekday()]}, der {now.day}. {_MONTHS[now.month - 1]} {now.year}"


_REMINDERS: Final = ReminderWords(
    noun=r"\berinnerung(?:en)?\b",
    remind=r"\berinnere? mich\b|\bdaran erinnern\b",
    command=r"(?:bitte |kannst du |kannst du bitte |und )*(?:erinnere? mich|(?:stelle?|setze?|mach|erstelle?) (?:mir )?(?:eine )?erinnerung|wecke? mich|rufe? mich|sag mir(?: bescheid)?)\b",
    every=r"\bjede[nrsm]?\b|\b(?:mon|diens|donners|frei|sams|sonn)tags\b|\bmittwochs\b",
    daily=r"\bjede[nrsm]? (?:tag|morgen|abend|mittag)\b|\btäglich\b",
    weekdays=r"\b(?:an (?:jedem )?)?(?:werktags?|wochentags?|werktagen|wochentagen|jeden werktag|jeden wochentag)\b",
    weekends=r"\b(?:am |jedes |an (?:jedem )?)?wochenenden?\b",
    today=r"\bheute\b",
    overmorrow=r"\bübermorgen\b",
    days=tuple(
        rf"\b{day}s?\b"
        for day in (
            "montag",
            "dienstag",
            "mittwoch",
            "donnerstag",
            "freitag",
            "(?:samstag|sonnabend)",
            "sonntag",
        )
    ),
    before_day=r"(?:\bund )?(?:\b(?:am|an|nächsten|kommenden|diesen|jeden|jedem) )*",
    before_time=r"\b(?:um|gegen|auf|für|ab)(?: etwa| ungefähr)?",
    after_time=r"(?:uhr|abends?|morgens|früh|vormittags?|nachmittags?|nachts)?",
    before_delay=r"\bin",
    after_delay=r"",
    lead=r"(?:daran|an|dass|zu|bitte|und|auf|um)\b",
    trail=r"\b(?:bitte|daran|erinnern|um|am|an)",
    change=r"\b(?:verschiebe?|ändere?|verlege?|stelle?\b.*\bum|umstellen)\b",
    show=r"^(?:bitte )?(?:welche|was|zeige?|liste|gibt es|wie viele|sag mir)\b|\bhabe ich\b",
    names=("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
    joint=" und ",
    said_today="heute",
    said_tomorrow="morgen",
    said_on="{day}",
    said_daily="jeden Tag",
    said_weekdays="werktags",
    said_weekends="am Wochenende",
    said_every="jeden {days}",
    alarm="Wecker {when}",
    reminder="{when}: {text}",
    replies={
        "set": "👍 Ich erinnere dich {when}: {text}.",
        "changed": "👍 Geändert: {when}.",
        "when": "🤔 Wann? Sag zum Beispiel: erinnere mich morgen um neun an den Zahnarzt.",
        "past": "🤔 Diese Zeit ist schon vorbei.",
        "nothing": "🙂 Es ist nichts gestellt.",
        "removed": "👍 Gelöscht.",
        "which": "🤔 Ich weiß nicht, was du meinst.",
    },
)

PACK: Final = Pack(
    reminders=_REMINDERS,
    code="de",
    read=partial(
        reader,
        "de",
        thousands=("tausend",),
        millions=("million", "millionen"),
        glued=r"(\w*)(tausend)(\w*)",
        also=lambda: {"hundert": 100, "null": 0},
    ),
    percent=r"prozent",
    minus="minus ",
    at=lambda now: f"um {_clock(now)}",
    time=lambda now: f"Es ist {_clock(now)}.",
    day=_day,
    units=(r"stunden?\b|std\b|h\b", r"minuten?\b|min\b", r"sekunden?\b|sek\b|s\b"),
    repeat=r"(?:bitte )?(?:sprich mir nach|sag mir nach|wiederhole?|sag mal)",
    fractions=(
        (r"\b(?:eine?r? )?dreiviertel ?stunden?\b|\b(?:drei|3) viertel ?stunden?\b", "45 minuten"),
        (r"\b(?:eine?r? )?(?:halben?|½) ?stunden?\b", "30 minuten"),
        (r"\b(?:eine?r? )?viertel ?stunden?\b", "15 minuten"),
        (r"\banderthalb\b", "1.5"),
        (r"\b(\w+?) ?einhalb stunden\b", r"\1 stunden 30 minuten"),
        (r"\b(\w+?) ?einhalb minuten\b", r"\1 minuten 30 sekunden"),
        (r"\b(?:die )?hälfte von\b", "0.5 mal"),
        (r"\b(?:eine?r? )?halben? minute\b", "30 sekunden"),
        (r"\bein(?:en?|er|em)?\b", "eins"),
        (r"\bzwo\b", "zwei"),
    ),
    operators=(
        (r"\b(?:geteilt|dividiert) durch\b|\bdurch\b(?= ?[\d(])", "/"),
        (r"\bmultipliziert mit\b|\bmal\b(?= ?[\d(√])", "*"),
        (r"\bplus\b(?= ?[\d(√])|(?<=\d) und(?= \d+(?:\.\d+)?$)", "+"),
        (r"\b(?:minus|weniger)\b(?= ?[\d(√])", "-"),
        (r"(?:%|\bprozent) (?:von|aus) ", " %of "),
        (r"\b(?:quadrat)?wurzel (?:aus|von)\b", "√"),
        (r"\bhoch\b(?= ?\d)", "^"),
        (r"(?<=\d) (?:zum|im) quadrat\b", " ^ 2"),
    ),
    clock=(
        (r"\bhalb (\d{1,2})\b", r"@\1:-30"),
        (r"\bviertel vor (\d{1,2})\b", r"@\1:-15"),
        (r"\bviertel nach (\d{1,2})\b", r"@\1:15"),
        (r"\b(\d{1,2})\.(\d{2}) uhr\b", r"@\1:\2"),
        (r"\b(\d{1,2}) uhr(?: (\d{1,2})\b)?", r"@\1:\2"),
        (r"\bum (\d{1,2})(?![\d.:])", r"@\1"),
    ),
    label=r"\b(?!kurzzeit)([^\W\d_]{3,}?)-?(?:timer|wecker)\b"
    r"|\b(?:timer|wecker) (?:(?:für|mit dem namen) (?:die|den|das|meine?n?)|namens) ([^\W\d_]+)",
    intents={
        "timer": r"\b\w*timer\b|\b\w*wecker\b|\beieruhr\b|\bstoppuhr\b|\balarm\b",
        "remind": r"\berinnere? mich\b|\bwecke? mich\b|\brufe? mich\b|\bsag mir in\b|\bsag (?:mir )?bescheid\b",
        "cancel": r"\b(?:lösche?|stoppe?|brich|abbrechen|beende|entferne|aus|ausschalten|abstellen|weg)\b",
        "list": r"\bwie (?:lange?|viel)\b|\bwelche\b|\bläuft\b|\blaufen\b|\bzeige?\b|\bgibt es\b|\bübrig\b",
        "volume": r"\blautstärke\b|\b(?:der|den|dem) ton\b|^ton\b|\bvolumen\b|\bwie laut ist (?:es|das)\b",
        "brightness": r"\bhelligkeit\b|\bbildschirm\b|\bdisplay\b",
        "up": r"\b(?:höher|erhöhe?|rauf|mehr|größer|lauter|heller|aufdrehen)\b|\b(?:dreh|mach|stell)\w*\b.*\bhoch\b",
        "down": r"\b(?:niedriger|verringere?|senke?|runter|weniger|leiser|dunkler|reduziere?)\b",
        "louder": r"^(?:\S+ ){0,4}(?:lauter|aufdrehen)\b(?: \S+){0,2}$",
        "quieter": r"^(?:\S+ ){0,4}(?:leiser)\b(?: \S+){0,2}$",
        "brighter": r"^(?:\S+ ){0,4}heller\b(?: \S+){0,2}$",
        "darker": r"^(?:\S+ ){0,4}(?:dunkler|dimmen|dimme?)\b(?: \S+){0,2}$",
        "highest": r"\b(?:maximum|maximal|maximale|volle|ganz (?:laut|hell)|höchste)\b",
        "lowest": r"\b(?:minimum|minimal|minimale|niedrigste|ganz (?:leise|dunkel))\b",
        "tell": r"\bwie\b|\bwas ist\b|\bsag\b|\bwelche\b",
        "mute": r"^(?:bitte )?(?:stumm|stummschalten|ton aus|sei (?:still|ruhig|leise)|ruhe|mach den ton aus)\b",
        "unmute": r"\bton (?:wieder )?(?:an|ein)\b|\bstumm(?:schaltung)? (?:aus|aufheben)\b|\bnicht mehr stumm\b",
        "battery": r"\b(?:akku|batterie|akkustand|batteriestand|ladestand)\b(?! (?:meine[sr]?|de[sr]|von)\b)",
        "time": r"\bwie spät\b|\bwie viel uhr\b|\bwieviel uhr\b|\buhrzeit\b|\bwelche zeit\b|\bwas ist die zeit\b",
        "date": r"\bwelche[rns]? (?:wochen)?tag\b|\bwelches (?:datum|jahr)\b|\bwelche[rn] monat\b|\bdatum\b"
        r"|\bde[nr] wievielte[nr]?\b|\bwas (?:für ein|ist \w+ für ein) tag\b|\bwas ist heute\b",
        "hello": r"^(?:hallo|hi|hey|guten (?:tag|morgen|abend)|servus|moin|grüß gott)\b(?: \S+)?$",
        "goodbye": r"^(?:\S+ )?(?:tschüss?|auf wiedersehen|bis (?:bald|später|morgen)|gute nacht|ciao|"
        r"das (?:ist|war) alles|das reicht)\b(?: \S+)?$",
        "thanks": r"\bdanke\b|\bdankeschön\b|\bvielen dank\b",
        "help": r"\bhilfe\b|\bhilf mir\b|\bwas kannst du\b",
        "name": r"\bwer bist du\b|\bwie heißt du\b|\bdein name\b",
        "how are you": r"\bwie geht(?: es|'?s)? ?(?:dir|ihnen)?$",
        "joke": r"\bwitze?\b",
        "never mind": r"^(?:egal|schon gut|vergiss es|nichts|ok|okay|stopp?|abbrechen|halt)$",
        "alarm": r"\b\w*wecker\b|\balarm\b",
        "set": r"\b(?:stelle?|setze?|starte?|mach|erstelle?|brauche|möchte|neuer|neuen)\b",
        "to": r"\b(?:auf|zu)\b",
        "elsewhere": r"\bin (?!der\b|diesem\b|meiner\b|\d)\w+",
        "tomorrow": r"\bmorgen\b",
        "yesterday": r"\bgestern\b",
        "morning": r"\bmorgens\b|\bfrüh\b|\bvormittags?\b|\bnachts\b",
        "evening": r"\babends?\b|\bnachmittags?\b",
        "wake": r"\bweck(?:e|en|t)?\b|\baufwachen\b|\baufstehen\b",
        "again": r"^(?:bitte )?(?:wiederhole? (?:das|es)(?: bitte| noch ?mal)?|noch ?(?:ein)?mal(?: bitte)?|wie bitte|was hast du gesagt)$",
        "left": r"\bwie (?:lange|viel zeit)\b.*\b(?:noch|übrig|bleibt)\b",
    },
    replies={
        "greeting": "😊 Hallo! Was kann ich für dich tun?",
        "help": "😊 Ich kann die Uhrzeit und das Datum sagen, rechnen, Timer, Wecker und Erinnerungen stellen, Lautstärke und Helligkeit "
        "ändern und nachsprechen. Für richtige Gespräche braucht es ein Sprachmodell.",
        "unknown": "🤷 Das kann ich ohne Sprachmodell nicht beantworten. Frag mich nach der Uhrzeit, einer "
        "Rechnung oder einem Timer.",
        "unknown again": "🤷 Das weiß ich auch nicht.",
        "nothing": "😕 Ich habe nichts gehört. Sag das bitte noch einmal.",
        "thanks": "😊 Gern geschehen!",
        "goodbye": "🙂 Tschüss, bis bald!",
        "name": "😊 Ich bin {name}, deine Sprachassistentin. Ohne Sprachmodell kann ich nur wenig.",
        "how are you": "😊 Mir geht es gut, danke!",
        "never mind": "🙂 In Ordnung.",
        "joke": (
            "😆 Warum ging die Uhr zum Arzt? Sie tickte nicht richtig.",
            "😆 Was sagt ein Mikrofon zum anderen? Wir hören voneinander.",
            "😆 Ich kenne einen Witz über Paketverlust, aber vielleicht kommt er nicht ganz an.",
            "😆 Warum sind Lautsprecher so beliebt? Sie sagen nichts, was sie nicht gehört haben.",
        ),
        "how to repeat": "🙂 Sag: sprich mir nach, und dann die Wörter.",
        "sum": "🤓 Das ist {value}.",
        "zero": "🤔 Durch null kann niemand teilen.",
        "large": "😳 Diese Zahl ist mir zu groß.",
        "how long": "🤔 Wie lange? Sag zum Beispiel: stelle einen Timer auf fünf Minuten.",
        "too long": "🤔 Ein Timer läuft eine Sekunde bis vierundzwanzig Stunden.",
        "no timers": "😔 Hier gibt es keine Timer.",
        "timer set": "👍 Der Timer läuft: {duration}.",
        "timers": "🙂 Es laufen {count} Timer, der nächste noch {duration}.",
        "timer left": "🙂 Der Timer läuft noch {duration}.",
        "no timer": "🙂 Diesen Timer gibt es nicht, oder es laufen mehrere.",
        "cancelled": "👍 Der Timer ist gelöscht.",
        "failed": "😔 Das hat nicht geklappt.",
        "volume now": "😀 Die Lautstärke ist {value}.",
        "brightness now": "😎 Die Helligkeit ist {value}.",
        "no volume": "😔 Die Lautstärke dieses Geräts erreiche ich nicht.",
        "no brightness": "😔 Die Helligkeit dieses Geräts erreiche ich nicht.",
        "level": "🤔 Sag mir eine Zahl von null bis hundert.",
        "battery": "🙂 Der Akku ist bei {value} Prozent.",
        "no battery": "😔 Dieses Gerät sagt mir seinen Akkustand nicht.",
        "elsewhere": "🤔 Ich kenne nur die Zeit hier. {time}",
        "today": "🙂 Heute ist {day}.",
        "tomorrow": "🙂 Morgen ist {day}.",
        "yesterday": "🙂 Gestern war {day}.",
        "about": "🤓 Das ist ungefähr {value}.",
        "alarm set": "👍 Der Wecker klingelt {at}.",
    },
)
