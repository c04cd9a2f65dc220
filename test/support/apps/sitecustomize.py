"""For PYTHONPATH: names below apps.test lead to this machine, as in the tests' browser."""

import socket

_getaddrinfo = socket.getaddrinfo


def _lead_home(host, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    return _getaddrinfo("127.0.0.1" if name and name.endswith(".apps.test") else host, *rest, **named)


socket.getaddrinfo = _lead_home
