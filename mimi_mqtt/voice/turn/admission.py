"""Admission of turns: a device that begins more than its share is told so, now and then."""

import asyncio

from mimi_mqtt.voice.answer.context import ConversationContext
from mimi_mqtt.voice.speech.phrases import apologies


def admit_turn(conversation: ConversationContext) -> bool:
    """True when the device may begin a turn, which is counted; else the refusal is, and told by an alert."""
    shares, device_id = conversation.services.shares, conversation.device_id
    now = asyncio.get_running_loop().time()
    if shares.take_turn(device_id, now):
        return True
    if shares.may_be_told(device_id, now):
        phrases = apologies(conversation.language.current)
        conversation.output.show_alert(phrases.status, phrases.moment, "neutral")
    return False
