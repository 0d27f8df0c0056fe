"""A client and a server that say nothing for a while, of which the client sends TCP keepalives.

It serves at a port of its own, which it prints. For each line "PORT SECONDS KEEPALIVE" of stdin it connects there, is silent for so
many seconds (with keepalives where KEEPALIVE is 1), and prints what a message sent then comes to.
"""

import json
import socket
import sys
import time

server = socket.create_server(("127.0.0.1", 0))
server.settimeout(20)
print(json.dumps({"port": server.getsockname()[1]}), flush=True)
for line in sys.stdin:
    port, seconds, keepalive = map(int, line.split())
    client = socket.create_connection(("127.0.0.1", port), 20)
    if keepalive:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    client.sendall(b"begin\n")
    accepted, _ = server.accept()
    accepted.settimeout(20)
    assert accepted.recv(64) == b"begin\n"
    # How many segments have come without a byte.
    time.sleep(seconds)
    info = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
    probes = int.from_bytes(info[140:144], sys.byteorder)
    try:
        accepted.sendall(b"news\n")
        outcome = client.recv(64).decode()
    except OSError as error:
        outcome = type(error).__name__
    print(json.dumps({"outcome": outcome, "segments": probes}), flush=True)
    client.close()
    accepted.close()
