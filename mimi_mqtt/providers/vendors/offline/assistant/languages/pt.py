"""Portuguese."""

from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack

_DAYS: Final = [
    "segunda-feira",
    "terça-feira",
    "quarta-feira",
    "quinta-feira",
    "sexta-feira",
    "sábado",
    "domingo",
]
_MONTHS: Final = [
    "janeiro",
    "fevereiro",
    "março",
    "abril",
    "maio",
    "junho",
    "julho",
    "agosto",
    "setembro",
    "outubro",
    "novembro",
    "dezembro",
]


def _clock(now: datetime) -> str:
    hour = f"{now.hour} hora{'' if now.hour == 1 else 's'}"
    minutes = f" e {now.minute} minuto{'' if now.minute == 1 else 's'}"
    return f"{hour}{minutes if now.minute else ' em ponto'}"


def _day(now: datetime) -> str:
    return f"{_DAYS[now.weekday()]}, {now.day} de {_MONTHS[now.month - 1]} de {now.year}"


PACK: Final = Pack(
    code="pt",
    read=partial(
        reader,
        "pt",
        thousands=("mil",),
        millions=("milhão", "milhões"),
        joins=frozenset({"e"}),
        also=lambda: {"uma": 1, "duas": 2, "catorze": 14, "quatorze": 14, "meia dúzia": 6},
        without=frozenset({"e"}),
    ),
    percent=r"por ?cento|por 100",
    minus="menos ",
    at=lambda now: f"{'à' if now.hour == 1 else 'às'} {_clock(now)}",
    time=lambda now: f"{'É' if now.hour == 1 else 'São'} {_clock(now)}.",
    day=_day,
    units=(r"horas?\b|h\b", r"minutos?\b|min\b", r"segundos?\b|seg\b|s\b"),
    repeat=r"(?:por favor )?(?:repete|repita|repitam)(?: comigo| depois de mim)?",
    fractions=(
        (r"\b(?:uma )?hora e meia\b", "90 minutos"),
        (r"\b(?:um )?minuto e meio\b", "90 segundos"),
        (r"\b(?:a )?metade de\b", "0,5 vezes"),
        (r"\b(\w+) horas? e meia\b", r"\1 horas 30 minutos"),
        (r"\b(\w+) horas? e (?:um )?quarto\b", r"\1 horas 15 minutos"),
        (r"\b(\w+) minutos? e meio\b", r"\1 minutos 30 segundos"),
        (r"\btrês quartos de hora\b", "45 minutos"),
        (r"\b(?:uma )?meia hora\b", "30 minutos"),
        (r"\b(?:um )?quarto de hora\b", "15 minutos"),
        (r"\bmeio minuto\b", "30 segundos"),
    ),
    operators=(
        (r"\bdividid[oa](?: por)?\b|\ba dividir por\b", "/"),
        (r"\bmultiplicad[oa] por\b|\bvezes\b(?= ?[\d(√])", "*"),
        (r"\bmais\b(?= ?[\d(])", "+"),
        (r"\bmenos\b(?= ?[\d(])", "-"),
        (r"(?:%|\bpor ?cento|\bpor 100) (?:de|do|dos) (?=\d)", " %of "),
        (r"\braiz(?: quadrada)? de\b", "√"),
        (r"\belevado a\b(?= ?\d)", "^"),
        (r"(?<=\d) (?:ao|elevado ao) quadrado\b", " ^ 2"),
    ),
    clock=(
        (r"\b(?:às|as|à|para as) (\d{1,2})(?: horas?)? e meia\b", r"@\1:30"),
        (r"\b(?:às|as|à|para as) (\d{1,2})[h.](\d{2})\b", r"@\1:\2"),
        (r"\b(?:às|as|à|para as) (\d{1,2})(?: ?h(?:oras?)?)?(?: e (\d{1,2})\b)?", r"@\1:\2"),
    ),
    label=r"\b(?:temporizador|alarme|timer) (?:para [oa]s?|d[oa]s?|chamado) ([^\W\d_]+)",
    intents={
        "timer": r"\btemporizador(?:es)?\b|\btimer\b|\balarmes?\b|\bcronômetro\b|\bcronómetro\b|\bdespertador\b",
        "remind": r"\bme (?:avis[ea]|lembr[ea]|acord[ea]|cham[ea])\b|\b(?:avis[ea]|lembr[ea]|acord[ea]|cham[ea])[- ]me\b",
        "cancel": r"\b(?:cancele|cancela|cancelar|pare|parar|remova|apague|apaga|desligue|desliga|tire)\b",
        "list": r"\bquanto\b|\bquantos\b|\bquais\b|\bfalta\b|\bfaltam\b|\bresta\b|\bmostre\b|\bque\b",
        "volume": r"\bvolume\b|\b(?:o|do|ao) som\b",
        "brightness": r"\bbrilho\b|\btela\b|\becrã\b",
        "up": r"\b(?:aumente|aumenta|aumentar|suba|sobe)\b|\bmais (?:alto|forte|volume|brilho|claro|brilhante)\b",
        "down": r"\b(?:diminua|diminui|diminuir|abaixe|abaixa|baixe|baixa|reduza)\b|\bmais (?:baixo|escuro)\b|\bmenos (?:volume|brilho)\b",
        "louder": r"^(?:\S+ ){0,3}mais alto(?: por favor)?$",
        "quieter": r"^(?:\S+ ){0,3}mais baixo(?: por favor)?$",
        "brighter": r"\bmais (?:claro|brilhante)\b",
        "darker": r"\bmais escuro\b",
        "highest": r"\b(?:máximo|maximo|máxima|no talo)\b",
        "lowest": r"\b(?:mínimo|minimo|mínima)\b",
        "tell": r"\bqual\b|\bquanto\b|\bquanta\b|\bcomo est[áa]\b|\bdiga\b",
        "mute": r"^(?:por favor )?(?:silêncio|silencie\b.*|cale-se|cala a boca|fique quieto|sem som|tire o som|mudo)$",
        "unmute": r"\b(?:ative|ligue|liga|volte) o som\b",
        "battery": r"\bbateria\b",
        "time": r"\bque horas? (?:são|é|tem)\b|\bhoras são\b|\bdiga as horas\b|^que horas$",
        "date": r"\bque (?:dia|mês|ano)\b|\bqual (?:é )?(?:a data|o (?:dia|mês|ano))\b|\ba data\b|\bdia da semana\b",
        "hello": r"^(?:olá|ola|oi|bom dia|boa tarde|alô)\b(?: \S+)?$",
        "goodbye": r"^(?:\S+ )?(?:tchau|adeus|até (?:logo|amanhã|mais|já)|boa noite|é só isso|isso é tudo)\b(?: \S+)?$",
        "thanks": r"\bobrigad[oa]\b|\bvaleu\b",
        "help": r"^(?:\S+ )?ajuda$|\bajude-me\b|\bme ajud[ae]\b|\bo que (?:você )?(?:pode|sabe|consegue) fazer\b",
        "name": r"\bquem (?:é você|és)\b|\bcomo (?:você )?se chama$|\bcomo te chamas\b|\bseu nome\b|\bteu nome\b",
        "how are you": r"\bcomo (?:você está|vai você|vai|estás)$|\btudo bem\b",
        "joke": r"\bpiadas?\b",
        "never mind": r"^(?:deixa(?: pra lá)?|esquece|nada|não importa|tá bom|ok|pare|chega|cancele)$",
        "alarm": r"\balarmes?\b|\bdespertador\b",
        "set": r"\b(?:coloque|coloca|ponha|põe|marque|marca|inicie|inicia|crie|cria|defina|programe|ative|quero|preciso)\b",
        "to": r"\b(?:para|até|a|ao)\b",
        "elsewhere": r"\b(?:em|no|na) (?!ponto\b)\w+",
        "tomorrow": r"\bamanhã\b",
        "yesterday": r"\bontem\b",
        "morning": r"\b(?:d[ea]|pela|esta|nesta) (?:manhã|madrugada)\b",
        "evening": r"\b(?:d[ea]|à|pela|esta|hoje à) (?:tarde|noite)\b",
        "wake": r"\bacord[ea]",
        "again": r"^(?:por favor )?(?:rep[ei]t[ae](?: isso)?(?: por favor)?|de novo|outra vez|o que você disse)$",
        "left": r"\bquanto (?:tempo )?(?:ainda )?(?:falta|resta)\b",
    },
    replies={
        "greeting": "😊 Olá! O que posso fazer por você?",
        "help": "😊 Sei dizer as horas e a data, fazer contas, marcar temporizadores, mudar o volume e o brilho e "
        "repetir. Para conversas de verdade é preciso um modelo de linguagem.",
        "unknown": "🤷 Sem um modelo de linguagem não posso responder a isso. Pergunte as horas, uma conta ou peça um "
        "temporizador.",
        "unknown again": "🤷 Isso também não sei.",
        "nothing": "😕 Não ouvi nada. Pode repetir?",
        "thanks": "😊 De nada!",
        "goodbye": "🙂 Tchau, até logo!",
        "name": "😊 Eu sou {name}, seu assistente de voz. Sem um modelo de linguagem sei poucas coisas.",
        "how are you": "😊 Estou bem, obrigado.",
        "never mind": "🙂 Está bem.",
        "joke": (
            "😆 Por que o relógio foi ao médico? Porque estava atrasado.",
            "😆 O que um microfone disse ao outro? Estou ouvindo você.",
            "😆 Qual é o cúmulo de um temporizador? Perder tempo.",
            "😆 Por que o robô não tem medo? Porque tem nervos de aço.",
        ),
        "how to repeat": "🙂 Diga: repita, e depois as palavras.",
        "sum": "🤓 O resultado é {value}.",
        "zero": "🤔 Ninguém pode dividir por zero.",
        "large": "😳 Esse número é grande demais para mim.",
        "how long": "🤔 De quanto tempo? Diga, por exemplo: marque um temporizador de cinco minutos.",
        "too long": "🤔 Um temporizador dura de um segundo a vinte e quatro horas.",
        "no timers": "😔 Não tenho temporizadores aqui.",
        "timer set": "👍 Temporizador marcado: {duration}.",
        "timers": "🙂 Há {count} temporizadores. Tempo do primeiro: {duration}.",
        "timer left": "🙂 Tempo restante: {duration}.",
        "no timer": "🙂 Não há esse temporizador, ou há vários.",
        "cancelled": "👍 O temporizador foi cancelado.",
        "failed": "😔 Não funcionou.",
        "volume now": "😀 O volume está em {value}.",
        "brightness now": "😎 O brilho está em {value}.",
        "no volume": "😔 Não alcanço o volume deste aparelho.",
        "no brightness": "😔 Não alcanço o brilho deste aparelho.",
        "level": "🤔 Diga um número de zero a cem.",
        "battery": "🙂 A bateria está em {value} por cento.",
        "no battery": "😔 Este aparelho não me diz a bateria.",
        "elsewhere": "🤔 Só sei a hora daqui. {time}",
        "today": "🙂 Hoje é {day}.",
        "tomorrow": "🙂 Amanhã é {day}.",
        "yesterday": "🙂 Ontem foi {day}.",
        "about": "🤓 O resultado é aproximadamente {value}.",
        "alarm set": "👍 O alarme vai tocar {at}.",
    },
)
