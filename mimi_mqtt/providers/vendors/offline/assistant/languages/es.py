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


def _clock(now: datetime) -> str:
    return f"{'la' if now.hour == 1 else 'las'} {now.hour}{f' y {now.minute}' if now.minute else ' en punto'}"


def _day(now: datetime) -> str:
    return f"{_DAYS[now.weekday()]}, {now.day} de {_MONTHS[now.month - 1]} de {now.year}"


PACK: Final = Pack(
    code="es",
    read=partial(
        reader,
        "es",
        thousands=("mil",),
        millions=("millón", "millon", "millones"),
        also=lambda: {
            "un": 1,
            "una": 1,
            "cien": 100,
            "veintiún": 21,
            "dieciseis": 16,
            "veintidos": 22,
            "veintitres": 23,
            "veintiseis": 26,
        },
    ),
    percent=r"por ciento|por 100",
    minus="menos ",
    at=lambda now: f"a {_clock(now)}",
    time=lambda now: f"{'Es' if now.hour == 1 else 'Son'} {_clock(now)}.",
    day=_day,
    units=(r"horas?\b|h\b", r"minutos?\b|min\b", r"segundos?\b|seg\b|s\b"),
    repeat=r"(?:por favor )?(?:repite(?: conmigo)?|di conmigo)",
    fractions=(
        (r"\b(?:una )?hora y media\b", "90 minutos"),
        (r"\b(?:una )?hora y cuarto\b", "75 minutos"),
        (r"\b(?:un )?minuto y medio\b", "90 segundos"),
        (r"\b(?:la )?mitad de\b", "0,5 multiplicado por"),
        (r"\b(\w+) horas? y media\b", r"\1 horas 30 minutos"),
        (r"\b(\w+) horas? y cuarto\b", r"\1 horas 15 minutos"),
        (r"\b(\w+) minutos? y medio\b", r"\1 minutos 30 segundos"),
        (r"\btres cuartos de hora\b", "45 minutos"),
        (r"\b(?:una )?media hora\b", "30 minutos"),
        (r"\b(?:un )?cuarto de hora\b", "15 minutos"),
        (r"\bmedio minuto\b", "30 segundos"),
    ),
    operators=(
        (r"(?:%|\bpor ciento|\bpor 100) (?:de|del) (?=\d)", " %of "),
        (r"(?<=\d) ?(?:por ciento|por 100)\b", " %"),
        (r"\bdividid[oa](?: por| entre)?\b|\bentre\b(?= ?[\d(])", "/"),
        (r"\bmultiplicado por\b|\bpor\b(?= ?[\d(√])|\bveces\b(?= ?\d)", "*"),
        (r"\bm[áa]s\b(?= ?[\d(√])", "+"),
        (r"\bmenos\b(?= ?[\d(√])", "-"),
        (r"\braíz(?: cuadrada)? de\b|\braiz(?: cuadrada)? de\b", "√"),
        (r"\belevado a(?: la)?\b(?= ?\d)", "^"),
        (r"(?<=\d) (?:al|elevado al) cuadrado\b", " ^ 2"),
    ),
    clock=(
        (r"\ba las? (\d{1,2}) y media\b", r"@\1:30"),
        (r"\ba las? (\d{1,2}) y cuarto\b", r"@\1:15"),
        (r"\ba las? (\d{1,2}) menos cuarto\b", r"@\1:-15"),
        (r"\b(?:a|para) las? (\d{1,2})(?: y (\d{1,2})\b|[.:](\d{2})\b)?(?! ?(?:horas|minutos))", r"@\1:\2\3"),
    ),
    label=r"\b(?:temporizador|alarma|timer) (?:(?:para|de) (?:el|las?|los)|del|llamad[oa]) ([^\W\d_]+)",
    intents={
        "timer": r"\btemporizador(?:es)?\b|\balarmas?\b|\bcronómetro\b|\btimer\b|\bdespertador\b",
        "remind": r"\b(?:av[íi]same|recu[ée]rdame|despi[ée]rtame|ll[áa]mame)\b",
        "cancel": r"\b(?:cancela|cancelar|parar|detén|deten|quita|borra|elimina|apaga|desactiva)\b|^(?:por favor )?para\b",
        "list": r"\bcu[áa]nto\b|\bqu[ée]\b(?! es\b)|\bcu[áa]ntos\b|\bhay\b|\bquedan?\b|\bmuestra\b",
        "volume": r"\bvolumen\b|\b(?:el|del) sonido\b",
        "brightness": r"\bbrillo\b|\bpantalla\b",
        "up": r"\b(?:sube|subir|súbe\w*|aumenta)\b|\bm[áa]s (?:alto|fuerte|volumen|brillo|brillante|luz)\b",
        "down": r"\b(?:baja|bajar|bája\w*|reduce|disminuye)\b|\bm[áa]s (?:bajo|oscur[oa])\b|\bmenos (?:volumen|brillo|luz)\b",
        "louder": r"^(?:\S+ ){0,3}m[áa]s (?:alto|fuerte)(?: por favor)?$|^sube(?:lo)?$",
        "quieter": r"^(?:\S+ ){0,3}m[áa]s (?:bajo|bajito|flojo)(?: por favor)?$|^baja(?:lo)?$",
        "brighter": r"\bm[áa]s (?:brillante|luminoso)\b",
        "darker": r"\bm[áa]s oscur[oa]\b",
        "highest": r"\b(?:m[áa]xim[oa]|al tope)\b",
        "lowest": r"\b(?:m[íi]nim[oa])\b",
        "tell": r"\bcu[áa]l\b|^c[óo]mo\b|\bcómo\b|\bqué\b|^que\b|\bdime\b|\bcu[áa]nt[oa]\b",
        "mute": r"^(?:por favor )?(?:silencio|silencia\b.*|cállate|callate|quita el sonido|sin sonido)$",
        "unmute": r"\b(?:activa|pon|vuelve a poner) el sonido\b|\bquita el silencio\b",
        "battery": r"\bbater[íi]a\b",
        "time": r"\bqu[ée] horas? (?:es|son|tienes|ser[áa])\b|\bdime la hora\b|^(?:por favor )?la hora$",
        "date": r"\bqu[ée] (?:d[íi]a|fecha|mes|año)\b|\ba cu[áa]ntos? estamos\b|\bla fecha\b|\bd[íi]a de la semana\b",
        "hello": r"^(?:hola|buenos d[íi]as|buenas(?: tardes)?|hey)\b(?: \S+)?$",
        "goodbye": r"^(?:\S+ )?(?:adi[óo]s|hasta (?:luego|mañana|pronto|la vista)|chao|buenas noches|eso es todo)\b"
        r"(?: \S+)?$",
        "thanks": r"\bgracias\b",
        "help": r"^(?:\S+ )?ayuda$|\bay[úu]dame\b|\bqu[ée] (?:puedes|sabes) hacer\b",
        "name": r"\bqui[ée]n eres\b|\bc[óo]mo te llamas\b|\btu nombre\b",
        "how are you": r"\bc[óo]mo (?:est[áa]s|est[áa]|te va)$|^qu[ée] tal(?: est[áa]s)?$",
        "joke": r"\bchistes?\b",
        "never mind": r"^(?:da igual|no importa|nada|olv[íi]dalo|vale|para|basta|cancela)$",
        "alarm": r"\balarmas?\b|\bdespertador\b",
        "set": r"\b(?:pon|pone|poner|ponme|inicia|crea|programa|activa|quiero|necesito)\b",
        "to": r"\b(?:a|al|hasta)\b",
        "elsewhere": r"\ben (?!este\b|punto\b)\w+",
        "tomorrow": r"\bmañana\b",
        "yesterday": r"\bayer\b",
        "morning": r"\b(?:de|por|en) la (?:mañana|madrugada)\b|\d ?a ?m\b",
        "evening": r"\b(?:de|por|en) la (?:tarde|noche)\b|\besta (?:tarde|noche)\b|\d ?p ?m\b",
        "wake": r"\bdespi[ée]rta",
        "again": r"^(?:por favor )?(?:rep[íi]te(?:lo|(?: eso)?)(?: por favor)?|otra vez|qu[ée] (?:has dicho|dijiste)|cómo dices)$",
        "left": r"\bcu[áa]nto (?:tiempo )?(?:queda|falta)\b",
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
            "😆 ¿Qué hace una abeja en el gimnasio? Zumba.",
            "😆 ¿Cuál es el colmo de un temporizador? Perder el tiempo.",
        ),
        "how to repeat": "🙂 Di: repite, y después las palabras.",
        "sum": "🤓 El resultado es {value}.",
        "zero": "🤔 Nadie puede dividir entre cero.",
        "large": "😳 Ese número es demasiado grande para mí.",
        "how long": "🤔 ¿De cuánto tiempo? Di, por ejemplo: pon un temporizador de cinco minutos.",
        "too long": "🤔 Un temporizador dura de un segundo a veinticuatro horas.",
        "no timers": "😔 Aquí no tengo temporizadores.",
        "timer set": "👍 Temporizador puesto: {duration}.",
        "timers": "🙂 Hay {count} temporizadores. Tiempo del primero: {duration}.",
        "timer left": "🙂 Tiempo restante: {duration}.",
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
        "elsewhere": "🤔 Solo sé la hora de aquí. {time}",
        "today": "🙂 Hoy es {day}.",
        "tomorrow": "🙂 Mañana es {day}.",
        "yesterday": "🙂 Ayer fue {day}.",
        "about": "🤓 El resultado es aproximadamente {value}.",
        "alarm set": "👍 La alarma sonará {at}.",
    },
)
