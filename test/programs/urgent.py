"""A client and a server that send each other an urgent byte, which each of them reads beside the stream, as sockets do by default.

It serves at a port of its own, which it prints. For each port then read from stdin it connects there, and prints
what each side got: the bytes in front of the mark, the urgent byte, and the bytes behind it.
"""

import fcntl
import json
import select
import socket
import struct
import sys

SIOCATMARK = 0x8905


def read(sock):
    """Reads up to the newline; answers what came before the mark, the urgent byte and what came behind."""
    before, urgent, behind = b"", b"", b""
    while not (before + behind).endswith(b"\n"):
        ready, _, special = select.select([sock], [], [] if urgent else [sock], 20)
        if special:
            try:
                urgent = sock.recv(1, socket.MSG_OOB)
            except OSError:
                pass  # announced, and not there yet
            # The kernel stops in front of the mark.
            while urgent and not at_mark(sock):
                before += sock.recv(64)
        elif ready:
            data = sock.recv(64)
            if not data:
                break
            if urgent:
                behind += data
            else:
                before += data
        else:
            break
    return [part.decode("latin-1") for part in (before, urgent, behind)]


def at_mark(sock):
    return struct.unpack("i", fcntl.ioctl(sock, SIOCATMARK, b"\0" * 4))[0] == 1


def say(sock):
    sock.sendall(b"abor")
    sock.send(b"!", socket.MSG_OOB)
    sock.sendall(b"t\n")


server = socket.create_server(("127.0.0.1", 0))
server.settimeout(20)
print(json.dumps({"port": server.getsockname()[1]}), flush=True)
for line in sys.stdin:
    client = socket.create_connection(("127.0.0.1", int(line)), 20)
    # What a program begins with may be looked at as a whole.
    client.sendall(b"begin\n")
    accepted, _ = server.accept()
    accepted.settimeout(20)
    assert accepted.recv(64) == b"begin\n"
    say(client)
    to_server = read(accepted)
    say(accepted)
    to_client = read(client)
    print(json.dumps({"toServer": to_server, "toClient": to_client}), flush=True)
    client.close()
    accepted.close()
