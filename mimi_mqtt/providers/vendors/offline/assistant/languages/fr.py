"""French."""

from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack

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


def _time(now: datetime) -> str:
    hour = f"{now.hour} heure{'' if now.hour < 2 else 's'}"
    return f"Il est {hour}{f' {now.minute}' if now.minute else ''}."


def _date(now: datetime) -> str:
    day = "1er" if now.day == 1 else now.day
    return f"Nous sommes le {_DAYS[now.weekday()]} {day} {_MONTHS[now.month - 1]} {now.year}."


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = ((hours, "heure"), (minutes, "minute"), (rest, "seconde"))
    return " et ".join(f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts if number)


PACK: Final = Pack(
    code="fr",
    read=partial(
        reader,
        "fr",
        thousands=("mille",),
        also=lambda: {"une": 1, "vingt et un": 21, "septante": 70, "huitante": 80, "nonante": 90},
    ),
    time=_time,
    date=_date,
    duration=_duration,
    units=(r"heures?\b|h\b", r"minutes?\b|mn\b|min\b", r"secondes?\b|sec\b|s\b"),
    repeat=r"(?:répète|repete|répétez)(?: après moi)?|dis après moi",
    fractions=(
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
        (r"\bdivisée?s? par\b|\bsur\b(?= ?\d)", "/"),
        (r"\bmultipliée?s? par\b|\bfois\b", "*"),
        (r"\bplus\b(?= ?[\d(])", "+"),
        (r"\bmoins\b(?= ?[\d(])", "-"),
        (r"% (?:de|du|des) ", " %of "),
        (r"\bracine(?: carrée)? de\b", "√"),
        (r"\b(?:à la )?puissance\b", "^"),
    ),
    intents={
        "timer": r"\bminuteurs?\b|\bminuteries?\b|\balarmes?\b|\btimer\b|\bcompte à rebours\b|\bréveil\b",
        "remind": r"\b(?:rappelle|préviens|réveille|avertis|appelle)[- ]moi\b",
        "cancel": r"\b(?:annule|annuler|arrête|arrêter|supprime|stoppe|stop|enlève|éteins|coupe)\b",
        "list": r"\bcombien\b|\bquels?\b|\breste\b|\bmontre\b|\bliste\b|\by a t il\b|\by a-t-il\b",
        "volume": r"\bvolume\b|\bson\b",
        "brightness": r"\bluminosité\b|\bécran\b",
        "up": r"\b(?:monte|monter|augmente|plus|hausse)\b",
        "down": r"\b(?:baisse|baisser|diminue|réduis|moins)\b",
        "louder": r"^(?:\S+ ){0,3}plus fort(?: \S+){0,2}$|^monte le son$",
        "quieter": r"^(?:\S+ ){0,3}(?:moins fort|plus bas|plus doucement)(?: \S+){0,2}$",
        "brighter": r"\bplus (?:clair|lumineux)\b",
        "darker": r"\bplus sombre\b|\bmoins (?:clair|lumineux)\b",
        "highest": r"\b(?:maximum|maximal|à fond|au max)\b",
        "lowest": r"\b(?:minimum|minimal|au min)\b",
        "tell": r"\bquel(?:le)?\b|\bcombien\b|\bdis\b|\bà combien\b",
        "mute": r"^(?:s il te plaît )?(?:silence|tais[- ]toi|coupe le son|muet|mets en sourdine)$",
        "unmute": r"\b(?:remets|rétablis|réactive) le son\b",
        "battery": r"\bbatterie\b",
        "time": r"\bquelle heure\b|\bl heure\b(?! et)|\bheure est[- ]il\b",
        "date": r"\bquel jour\b|\bquelle (?:date|est la date)\b|\bla date\b|\bquelle date\b|\ble combien\b",
        "hello": r"^(?:bonjour|salut|coucou|bonsoir|hello|allô)\b(?: \S+)?$",
        "goodbye": r"^(?:\S+ )?(?:au revoir|à (?:bientôt|demain|plus tard|plus|tout à l heure)|bonne nuit|adieu|"
        r"c est tout|ciao)\b(?: \S+)?$",
        "thanks": r"\bmerci\b",
        "help": r"\baide\b|\baide[- ]moi\b|\b(?:que|qu est ce que tu) (?:peux|sais)[- ]?(?:tu)? faire\b|\btu sais faire\b",
        "name": r"\bqui es[- ]tu\b|\bt appelles\b|\bton nom\b|\btu es qui\b",
        "how are you": r"\b(?:comment (?:ça va|vas[- ]tu|allez[- ]vous)|ça va)\b",
        "joke": r"\bblagues?\b",
        "never mind": r"^(?:tant pis|laisse tomber|rien|peu importe|d accord|ok|stop|arrête|annule)$",
    },
    replies={
        "greeting": "😊 Bonjour ! Que puis-je faire pour toi ?",
        "help": "😊 Je sais donner l'heure et la date, calculer, régler un minuteur, changer le volume et la "
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
        ),
        "again": "🙂 Dis : répète après moi, puis les mots.",
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
    },
)
