"""French."""

from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack
from mimi_mqtt.providers.vendors.offline.assistant.languages.reminder_words import ReminderWords

_DAYS: Final = ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"]
_MONTHS: Final = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
]


def _clock(now: datetime) -> str:
    hour = f"{now.hour} heure{'' if now.hour < 2 else 's'}"
    return f"{hour}{f' {now.minute}' if now.minute else ''}"


def _day(now: datetime) -> str:
    day = "1er" if now.day == 1 else now.day
    return f"{_DAYS[now.weekday()]} {day} {_MONTHS[now.month - 1]} {now.year}"


_REMINDERS: Final = ReminderWords(
    noun=r"\brappels?\b",
    remind=r"\brappelle[- ]moi\b",
    command=r"(?:s il te plaît |peux[- ]tu |est ce que tu peux |et )*(?:(?:rappelle|préviens|avertis|appelle|réveille)[- ]moi|me rappeler|(?:mets|crée|ajoute|programme)(?:[- ]moi)? (?:un )?rappel)\b",
    every=r"\b(?:chaque|tous les|toutes les|les)\b|\ble (?:lun|mar|mercre|jeu|vendre|same)dis?\b(?= de chaque)",
    daily=r"\b(?:chaque jour|tous les jours|chaque (?:matin|soir)|tous les (?:matins|soirs)|quotidiennement)\b",
    weekdays=r"\b(?:du lundi au vendredi|(?:chaque |tous les |les )?jours? (?:ouvrables?|ouvrés?|de (?:la )?semaine)|en semaine)\b",
    weekends=r"\b(?:le |les |chaque |tous les )?week[- ]?ends?\b",
    today=r"\baujourd ?hui\b|\bce (?:matin|soir)\b|\bcet après[- ]midi\b",
    overmorrow=r"\baprès[- ]demain\b",
    days=tuple(
        rf"\b{day}s?\b" for day in ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")
    ),
    before_day=r"(?:\bet )?(?:\b(?:le|les|chaque|tous les|ce) )*",
    before_time=r"\b(?:à|pour|vers)",
    after_time=r"(?:précises?|pile|du (?:matin|soir)|de l après[- ]midi)?",
    before_delay=r"\b(?:dans|d ici)",
    after_delay=r"",
    lead=r"(?:de|d|que|qu|pour|du|des|à|et|le|s il te plaît)\b",
    trail=r"\b(?:s il te plaît|à|le|de|pour)",
    change=r"\b(?:change|déplace|décale|repousse|avance|modifie|reporte)\b",
    show=r"^(?:est ce que )?(?:quels?|quelles?|combien|montre|liste|dis[- ]moi|ai[- ]je|y a[- ]t[- ]il)\b",
    names=("lundis", "mardis", "mercredis", "jeudis", "vendredis", "samedis", "dimanches"),
    joint=" et ",
    said_today="aujourd'hui",
    said_tomorrow="demain",
    said_on="le {day}",
    said_daily="tous les jours",
    said_weekdays="du lundi au vendredi",
    said_weekends="le week-end",
    said_every="tous les {days}",
    alarm="alarme {when}",
    reminder="{when} : {text}",
    replies={
        "set": "👍 Je te le rappellerai {when} : {text}.",
        "changed": "👍 C'est changé : {when}.",
        "when": "🤔 Quand ? Dis par exemple : rappelle-moi demain à neuf heures d'appeler maman.",
        "past": "🤔 Cette heure est déjà passée.",
        "nothing": "🙂 Rien n'est prévu.",
        "removed": "👍 C'est annulé.",
        "which": "🤔 Je ne sais pas lequel tu veux dire.",
    },
)

PACK: Final = Pack(
    reminders=_REMINDERS,
    code="fr",
    read=partial(
        reader,
        "fr",
        thousands=("mille",),
        millions=("million", "millions"),
        also=lambda: {"une": 1, "vingt et un": 21, "septante": 70, "huitante": 80, "nonante": 90},
    ),
    percent=r"pour ?cents?|pour 100",
    minus="moins ",
    at=lambda now: f"à {_clock(now)}",
    time=lambda now: f"Il est {_clock(now)}.",
    day=_day,
    units=(r"heures?\b|h\b", r"minutes?\b|mn\b|min\b", r"secondes?\b|sec\b|s\b"),
    repeat=r"(?:répète|repete|répétez)(?: après moi)?|dis après moi",
    fractions=(
        (r"\b(?:la )?moitié de\b", "0,5 fois"),
        (r"\b(\w+) heures? et demie?\b", r"\1 heures 30 minutes"),
        (r"\b(\w+) heures? et quart\b", r"\1 heures 15 minutes"),
        (r"\b(\w+) minutes? et demie?\b", r"\1 minutes 30 secondes"),
        (r"\btrois quarts d[’' ]heure\b", "45 minutes"),
        (r"\b(?:une )?demi[- ]heure\b", "30 minutes"),
        (r"\b(?:un )?quart d[’' ]heure\b", "15 minutes"),
        (r"\b(?:une )?demi[- ]minute\b", "30 secondes"),
    ),
    operators=(
        (r"\bpour ?(?:cents?|100)\b", "%"),
        (r"\bdivisée?s? par\b|(?<=\d) sur\b(?= ?\d)", "/"),
        (r"\bmultipliée?s? par\b|\bfois\b(?= ?[\d(√])", "*"),
        (r"\bplus\b(?= ?[\d(])", "+"),
        (r"\bmoins\b(?= ?[\d(])", "-"),
        (r"% (?:de|du|des) (?=\d)", " %of "),
        (r"\bracine(?: carrée)? de\b", "√"),
        (r"\b(?:à la )?puissance\b(?= ?\d)", "^"),
        (r"(?<=\d) au carré\b", " ^ 2"),
    ),
    clock=(
        (r"\b(?:à|pour) (\d{1,2}) ?h(?:eures?)? (?:et )?demie?\b", r"@\1:30"),
        (r"\b(?:à|pour) (\d{1,2}) ?h(?:eures?)? (?:et )?quart\b", r"@\1:15"),
        (r"\b(?:à|pour) (\d{1,2}) ?h(?:eures?)? moins (?:le )?quart\b", r"@\1:-15"),
        (r"\b(?:à|pour) (\d{1,2}) ?h(?:eures?)?(?: ?(\d{1,2})\b(?! ?heures?)(?: ?minutes?)?)?", r"@\1:\2"),
    ),
    label=r"\b(?:minuteur|minuterie|alarme|timer) (?:pour (?:les? |la |l[’'])|du |des |de la |de l[’']|de |nommée? )"
    r"([^\W\d_]+)",
    intents={
        "timer": r"\bminuteurs?\b|\bminuteries?\b|\balarmes?\b|\btimer\b|\bcompte à rebours\b|\bréveil\b",
        "remind": r"\b(?:rappelle|préviens|réveille|avertis|appelle)[- ]moi\b|\bme réveiller\b",
        "cancel": r"\b(?:annule|annuler|arrête|arrêter|supprime|stoppe|stop|enlève|éteins|coupe)\b",
        "list": r"\bcombien\b|\bquels?\b|\breste\b|\bmontre\b|\bliste\b|\by a t il\b|\by a-t-il\b",
        "volume": r"\bvolume\b|\b(?:le|du|au) son\b|^son\b",
        "brightness": r"\bluminosité\b|\bécran\b",
        "up": r"\b(?:montes?|monter|augmentes?|augmenter|hausse)\b|\bplus (?:fort|haut|clair|lumineux|de (?:son|volume|luminosité))\b",
        "down": r"\b(?:baisses?|baisser|diminues?|réduis)\b|\bmoins (?:fort|haut|clair|lumineux|de (?:son|volume))\b|\bplus (?:bas|sombre)\b",
        "louder": r"^(?:\S+ ){0,3}plus fort(?: \S+){0,2}$|^monte le son$",
        "quieter": r"^(?:\S+ ){0,3}(?:moins fort|plus bas|plus doucement)(?: \S+){0,2}$",
        "brighter": r"\bplus (?:clair|lumineux)\b",
        "darker": r"\bplus sombre\b|\bmoins (?:clair|lumineux)\b",
        "highest": r"\b(?:maximum|maximal|à fond|au max)\b",
        "lowest": r"\b(?:minimum|minimal|au min)\b",
        "tell": r"\bquel(?:le)?\b|\bcombien\b|\bdis\b|\bcomment\b|\breste\b|\bniveau\b",
        "mute": r"^(?:s il te plaît )?(?:silence|tais[- ]toi|coupe le son|muet|mets en sourdine)$",
        "unmute": r"\b(?:remets|rétablis|réactive) le son\b",
        "battery": r"\bbatterie\b",
        "time": r"\bquelle heure\b|\bdonne(?: moi)? l heure\b|\bdis(?: moi)? l heure\b|\bheure est[- ]il\b|^l heure$",
        "date": r"\bquel (?:jour|mois)\b|\bquelle (?:date|année|est la date)\b|\bla date\b|\ble combien\b",
        "hello": r"^(?:bonjour|salut|coucou|bonsoir|hello|allô)\b(?: \S+)?$",
        "goodbye": r"^(?:\S+ )?(?:au revoir|à (?:bientôt|demain|plus tard|plus|tout à l heure)|bonne nuit|adieu|"
        r"c est tout|ciao)\b(?: \S+)?$",
        "thanks": r"\bmerci\b",
        "help": r"^(?:à l )?aide$|\baide[- ]moi\b|\b(?:que|qu est ce que tu) (?:peux|sais)[- ]?(?:tu)? faire\b|\btu sais faire\b",
        "name": r"\bqui es[- ]tu\b|\bt appelles\b|\bton nom\b|\btu es qui\b",
        "how are you": r"\b(?:comment (?:ça va|vas[- ]tu|allez[- ]vous)|ça va)\b",
        "joke": r"\bblagues?\b",
        "never mind": r"^(?:tant pis|laisse tomber|rien|peu importe|d accord|ok|stop|arrête|annule)$",
        "alarm": r"\balarmes?\b|\bréveil\b",
        "set": r"\b(?:mets|mettre|met|lance|règle|démarre|crée|programme|fais|voudrais|veux)\b",
        "to": r"\b(?:à|a|jusqu)\b",
        "elsewhere": r"\b(?:à|en|au) (?!ce\b|cette\b|l\b)[^\W\d]\w+",
        "tomorrow": r"\bdemain\b",
        "yesterday": r"\bhier\b",
        "morning": r"\b(?:du|le|ce|au) matin\b|\b(?:cette|la) nuit\b",
        "evening": r"\b(?:du|le|ce|au) soir\b|\b(?:de|cet) ?l? après[- ]midi\b|\bl après[- ]midi\b",
        "wake": r"\bréveille",
        "again": r"^(?:répète(?: (?:ça|cela))?(?: s il te plaît)?|encore une fois|qu as[- ]tu dit|pardon|comment)$",
        "left": r"\bcombien de temps\b.*\breste\b|\breste combien de temps\b|\breste[- ]t[- ]il\b",
    },
    replies={
        "greeting": "😊 Bonjour ! Que puis-je faire pour toi ?",
        "help": "😊 Je sais donner l'heure et la date, calculer, régler un minuteur, une alarme ou un rappel, changer le volume et la "
        "luminosité et répéter. Pour de vraies conversations, il faut un modèle de langage.",
        "unknown": "🤷 Sans modèle de langage, je ne peux pas répondre à cela. Demande-moi l'heure, un calcul ou un "
        "minuteur.",
        "unknown again": "🤷 Je ne sais pas cela non plus.",
        "nothing": "😕 Je n'ai rien entendu. Peux-tu répéter ?",
        "thanks": "😊 Avec plaisir !",
        "goodbye": "🙂 Au revoir, à bientôt !",
        "name": "😊 Je suis {name}, ton assistant vocal. Sans modèle de langage, je sais peu de choses.",
        "how are you": "😊 Je vais bien, merci.",
        "never mind": "🙂 D'accord.",
        "joke": (
            "😆 Pourquoi la montre est-elle allée chez le médecin ? Elle avait du retard.",
            "😆 Que dit un micro à un autre ? Je t'entends.",
            "😆 Quel est le comble pour un minuteur ? Perdre son temps.",
            "😆 Pourquoi les robots n'ont-ils jamais peur ? Ils ont des nerfs d'acier.",
        ),
        "how to repeat": "🙂 Dis : répète après moi, puis les mots.",
        "sum": "🤓 Cela fait {value}.",
        "zero": "🤔 Personne ne peut diviser par zéro.",
        "large": "😳 Ce nombre est trop grand pour moi.",
        "how long": "🤔 Pour combien de temps ? Dis par exemple : mets un minuteur de cinq minutes.",
        "too long": "🤔 Un minuteur dure d'une seconde à vingt-quatre heures.",
        "no timers": "😔 Je n'ai pas de minuteur ici.",
        "timer set": "👍 Le minuteur est réglé : {duration}.",
        "timers": "🙂 Il y a {count} minuteurs, le premier dans {duration}.",
        "timer left": "🙂 Il reste {duration}.",
        "no timer": "🙂 Ce minuteur n'existe pas, ou il y en a plusieurs.",
        "cancelled": "👍 Le minuteur est annulé.",
        "failed": "😔 Cela n'a pas marché.",
        "volume now": "😀 Le volume est à {value}.",
        "brightness now": "😎 La luminosité est à {value}.",
        "no volume": "😔 Je n'atteins pas le volume de cet appareil.",
        "no brightness": "😔 Je n'atteins pas la luminosité de cet appareil.",
        "level": "🤔 Donne-moi un nombre de zéro à cent.",
        "battery": "🙂 La batterie est à {value} pour cent.",
        "no battery": "😔 Cet appareil ne me dit pas sa batterie.",
        "elsewhere": "🤔 Je ne connais que l'heure d'ici. {time}",
        "today": "🙂 Nous sommes le {day}.",
        "tomorrow": "🙂 Demain, ce sera le {day}.",
        "yesterday": "🙂 Hier, c'était le {day}.",
        "about": "🤓 Cela fait environ {value}.",
        "alarm set": "👍 L'alarme sonnera {at}.",
    },
)
