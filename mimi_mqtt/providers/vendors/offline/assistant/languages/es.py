"""Spanish."""

from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack

_DAYS: Final = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"]
_MONTHS: Final = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
]


def _time(now: datetime) -> str:
    verb = "Es la" if now.hour == 1 else "Son las"
    return f"{verb} {now.hour}{f' y {now.minute}' if now.minute else ' en punto'}."


def _date(now: datetime) -> str:
    return f"Hoy es {_DAYS[now.weekday()]}, {now.day} de {_MONTHS[now.month - 1]} de {now.year}."


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = ((hours, "hora"), (minutes, "minuto"), (rest, "segundo"))
    return " y ".join(f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts if number)


PACK: Final = Pack(
    code="es",
    read=partial(
        reader, "es", thousands=("mil",), also=lambda: {"un": 1, "una": 1, "cien": 100, "veintiún": 21}
    ),
    time=_time,
    date=_date,
    duration=_duration,
    units=(r"horas?\b|h\b", r"minutos?\b|min\b", r"segundos?\b|seg\b|s\b"),
    repeat=r"(?:por favor )?(?:repite(?: conmigo)?|di conmigo)",
    fractions=(
        (r"\b(\w+) horas? y media\b", r"\1 horas 30 minutos"),
        (r"\b(\w+) horas? y cuarto\b", r"\1 horas 15 minutos"),
        (r"\b(\w+) minutos? y medio\b", r"\1 minutos 30 segundos"),
        (r"\btres cuartos de hora\b", "45 minutos"),
        (r"\b(?:una )?media hora\b", "30 minutos"),
        (r"\b(?:un )?cuarto de hora\b", "15 minutos"),
        (r"\bmedio minuto\b", "30 segundos"),
    ),
    operators=(
        (r"\b(?:dividido|dividida)(?: por| entre)?\b|\bentre\b(?= ?\d)", "/"),
        (r"\bmultiplicado por\b|\bpor\b(?= ?[\d(])|\bveces\b", "*"),
        (r"\bmás\b|\bmas\b(?= ?\d)", "+"),
        (r"\bmenos\b", "-"),
        (r"(?:%|\bpor ciento|\* ?ciento) (?:de|del) ", " %of "),
        (r"\braíz(?: cuadrada)? de\b|\braiz(?: cuadrada)? de\b", "√"),
        (r"\belevado a(?: la)?\b", "^"),
        (r"\bpor 100 de (?=\d)", " %of "),
    ),
    intents={
        "timer": r"\btemporizador(?:es)?\b|\balarmas?\b|\bcronómetro\b|\btimer\b|\bdespertador\b",
        "remind": r"\b(?:avísame|avisame|recuérdame|recuerdame|despiértame|despiertame|llámame)\b",
        "cancel": r"\b(?:cancela|cancelar|para|parar|detén|deten|quita|borra|elimina|apaga|desactiva)\b",
        "list": r"\bcuánto\b|\bcuanto\b|\bqué\b|\bque\b|\bcuántos\b|\bhay\b|\bqueda\b|\bquedan\b|\bmuestra\b",
        "volume": r"\bvolumen\b|\bsonido\b",
        "brightness": r"\bbrillo\b|\bpantalla\b",
        "up": r"\b(?:sube|subir|súbe\w*|aumenta|más|\+|alto)(?!\w)",
        "down": r"\b(?:baja|bajar|bája\w*|reduce|disminuye|menos|bajo)\b|-",
        "louder": r"^(?:\S+ ){0,3}(?:más|\+) (?:alto|fuerte)(?: por favor)?$|^sube(?:lo)?$",
        "quieter": r"^(?:\S+ ){0,3}(?:más|\+) (?:bajo|bajito|flojo)(?: por favor)?$|^baja(?:lo)?$",
        "brighter": r"(?:más|\+) (?:brillante|luminoso)\b",
        "darker": r"(?:más|\+) (?:oscuro|oscura)\b",
        "highest": r"\b(?:máximo|maximo|máxima|al tope|todo)\b",
        "lowest": r"\b(?:mínimo|minimo|mínima)\b",
        "tell": r"\bcuál\b|\bcual\b|\bcómo\b|\bcómo está\b|\bqué\b|\bdime\b|\ba cuánto\b|\bcuánto\b",
        "mute": r"^(?:por favor )?(?:silencio|silencia\b.*|cállate|callate|quita el sonido|sin sonido)$",
        "unmute": r"\b(?:activa|pon|vuelve a poner) el sonido\b|\bquita el silencio\b",
        "battery": r"\bbatería\b|\bbateria\b",
        "time": r"\bqué horas? (?:es|son)\b|\bque horas? (?:es|son)\b|\bdime la hora\b|\bla hora\b$|\bqué hora tienes\b",
        "date": r"\bqué (?:día|fecha)\b|\bque (?:dia|fecha)\b|\ba cuánto estamos\b|\ba cuántos estamos\b|\bla fecha\b"
        r"|\bqué día\b",
        "hello": r"^(?:hola|buenos días|buenos dias|buenas(?: tardes)?|buenas|qué tal|hey)\b(?: \S+)?$",
        "goodbye": r"^(?:\S+ )?(?:adiós|adios|hasta (?:luego|mañana|pronto|la vista)|chao|buenas noches|eso es todo)\b"
        r"(?: \S+)?$",
        "thanks": r"\bgracias\b",
        "help": r"\bayuda\b|\bayúdame\b|\bqué (?:puedes|sabes) hacer\b",
        "name": r"\bquién eres\b|\bcómo te llamas\b|\btu nombre\b",
        "how are you": r"\bcómo (?:estás|está|te va)\b",
        "joke": r"\bchistes?\b",
        "never mind": r"^(?:da igual|no importa|nada|olvídalo|vale|para|basta|cancela)$",
    },
    replies={
        "greeting": "😊 ¡Hola! ¿Qué puedo hacer por ti?",
        "help": "😊 Sé decir la hora y la fecha, calcular, poner temporizadores, cambiar el volumen y el brillo y "
        "repetir lo que dices. Para conversar de verdad hace falta un modelo de lenguaje.",
        "unknown": "🤷 Sin un modelo de lenguaje no puedo responder a eso. Pregúntame la hora, una cuenta o pide "
        "un temporizador.",
        "unknown again": "🤷 Eso tampoco lo sé.",
        "nothing": "😕 No he oído nada. ¿Puedes repetirlo?",
        "thanks": "😊 ¡De nada!",
        "goodbye": "🙂 ¡Adiós, hasta pronto!",
        "name": "😊 Soy {name}, tu asistente de voz. Sin un modelo de lenguaje sé pocas cosas.",
        "how are you": "😊 Estoy bien, gracias.",
        "never mind": "🙂 De acuerdo.",
        "joke": (
            "😆 ¿Qué le dice un altavoz a otro? Te oigo muy bajo.",
            "😆 ¿Por qué el reloj fue al médico? Porque se sentía atrasado.",
        ),
        "again": "🙂 Di: repite, y después las palabras.",
        "sum": "🤓 Son {value}.",
        "zero": "🤔 Nadie puede dividir entre cero.",
        "large": "😳 Ese número es demasiado grande para mí.",
        "how long": "🤔 ¿De cuánto tiempo? Di, por ejemplo: pon un temporizador de cinco minutos.",
        "too long": "🤔 Un temporizador dura de un segundo a veinticuatro horas.",
        "no timers": "😔 Aquí no tengo temporizadores.",
        "timer set": "👍 Temporizador puesto: {duration}.",
        "timers": "🙂 Hay {count} temporizadores; al primero le quedan {duration}.",
        "timer left": "🙂 Quedan {duration}.",
        "no timer": "🙂 No hay tal temporizador, o hay varios.",
        "cancelled": "👍 El temporizador está cancelado.",
        "failed": "😔 No ha funcionado.",
        "volume now": "😀 El volumen está en {value}.",
        "brightness now": "😎 El brillo está en {value}.",
        "no volume": "😔 No llego al volumen de este aparato.",
        "no brightness": "😔 No llego al brillo de este aparato.",
        "level": "🤔 Dime un número de cero a cien.",
        "battery": "🙂 La batería está al {value} por ciento.",
        "no battery": "😔 Este aparato no me dice su batería.",
    },
)
