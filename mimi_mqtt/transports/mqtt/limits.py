"""Bounds of the embedded broker that are not settings: they protect memory, and ordinary use meets none."""

BURST_FACTOR = 4
"""A device may send this many seconds' worth of its message rate at once."""

FLOOD_FACTOR = 10
"""A device that exceeds its rate by this many bursts without a pause is disconnected."""

MAX_UNRELEASED = 1_000
"""QoS 2 publishes of one client that wait for PUBREL."""

MAX_IN_FLIGHT = 100
"""QoS 1 and 2 messages sent to one client that it has not acknowledged; further ones wait."""

MAX_SENT_ALIASES = 32
"""Topic aliases that are used towards one client of MQTT 5, where it allows them."""

MAX_KEEPALIVE_S = 600
"""Keepalive in seconds that a general client of MQTT 5 is told to use when it wants a longer one, or none."""

LOOKED_AT_IN_A_GROUP = 16
"""Members of a shared subscription's group that are asked whether they take a message, before the next one
gets it all the same."""

MAX_FILTERS = 500
"""Subscriptions of one general client."""

DEPARTURES_A_TURN = 8
"""Connections of general clients that end in one turn of the loop."""

MAX_CLIENT_ID_CHARS = 256
"""Length of a client id."""

YOUNG_CONNECT_S = 0.25
"""Seconds for which a connection without CONNECT is not closed for a newer one of its own address: when many
devices behind one router connect at once, the first ones are let in."""

YOUNG_TLS_CONNECT_S = 2.0
"""The same with TLS, whose handshakes take the server a millisecond each."""

BAD_CONNECTIONS_PER_S = 10.0
"""Connections of one address that end without being let in, a second in the long run; beyond, its new ones
are closed at once, which costs a fraction of an answer. Addresses from which devices connected are spared."""

BAD_CONNECTIONS_AT_ONCE = 300.0
"""The burst of these."""

MAX_PUSH_BYTES = 8_000
"""Payload an administrator may push to a device, in bytes: more JSON breaks a device's connection."""

MAX_FILTER_LEVELS = 32
"""Levels of a topic filter."""

MAX_FILTER_CHARS = 1_024
"""Length of a topic filter."""

MAX_SUBSCRIPTIONS = 100_000
"""Topic filters of all general clients; each counts once for every four levels begun."""

MAX_RETAINED = 10_000
"""Retained messages of clients."""

MAX_RETAINED_BYTES = 64 * 1024 * 1024
"""Topics and payloads of the retained messages of clients, in bytes; of one account a quarter."""

MAX_QUEUED_BYTES = 32 * 1024 * 1024
"""Messages with QoS 1 and 2 that wait for clients, absent ones too, in bytes; of one account a quarter."""

RESERVED_BYTES = 16_384
"""Messages with QoS 1 and 2 in flight to a client that is connected, in bytes, for which there is room
although other sessions of its account hold its share."""

MAX_OFFLINE_SESSIONS = 1_000
"""Persistent sessions whose client is away; half of them only for clients with a user name."""

OFFLINE_SESSION_S = 24 * 3600.0
"""Seconds that a persistent session is kept while its client is away."""

MAX_INPUT_BYTES = 65_536
"""Bytes of a general client that wait for the broker before its socket is no longer read; a packet counts 160
more than it has."""

TURN_COST = 16
"""Messages of all general clients that are handled in one turn of the loop, or deliveries that cost as much:
about 3 ms."""

TESTER_CHANNEL_S = 120.0
"""Seconds that a device played by testers is kept after the last one left: mosquitto_pub leaves at once, and
its session should still be there for the next command."""

JOINED_BYTES = 1_400
"""Bytes of messages to one device that are joined to one write, at most: about a TCP segment."""

MAX_REMEMBERED = 64
"""Messages to one device that may be without an acknowledgement and are sent again on its next connection."""

CHECKED_FROM = 8
"""Messages remembered before it is looked whether they were acknowledged; the sweep looks too."""

SLICE_BYTES = 4_096
"""Bytes of one connection that are handled before other connections have their turn."""

DRAIN_S = 10.0
"""Seconds in which the packets that a general client sent before its end are still handled, when its account
has used up its message rate."""

LINGER_S = 5.0
"""Seconds that a closing connection may take to accept its last bytes."""

SWEEP_S = 1.0
"""Seconds between two checks of all time limits."""
