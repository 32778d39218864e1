"""A TLS client that floods its server with key updates, by OpenSSL itself: Python's ssl can't send any."""

import ctypes
import ctypes.util
import socket

_CLIENT_UPDATES_ALONE = 0
"""SSL_KEY_UPDATE_NOT_REQUESTED: the server is not asked for an update of its own."""
BOTH_UPDATE = 1
"""SSL_KEY_UPDATE_REQUESTED: the server has to answer each."""
_VERIFY_NONE = 0


def flood(port: int, most: int, kind: int = BOTH_UPDATE, source: str = "127.0.0.1") -> int:
    """Sends up to `most` key updates to 127.0.0.1:`port`; how many were sent before the server ended the
    connection. Blocks."""
    lib = ctypes.CDLL(ctypes.util.find_library("ssl"))
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(lib, name).restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
    lib.SSL_CTX_set_verify(context, _VERIFY_NONE, None)
    with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) as sock:
        sock.settimeout(None)
        tls = ctypes.c_void_p(lib.SSL_new(context))
        try:
            lib.SSL_set_fd(tls, sock.fileno())
            if lib.SSL_connect(tls) != 1:
                raise ConnectionError("the handshake failed")
            for sent in range(most):
                if lib.SSL_key_update(tls, kind) != 1 or lib.SSL_do_handshake(tls) != 1:
                    return sent
            return most
        finally:
            lib.SSL_free(tls)
            lib.SSL_CTX_free(context)
