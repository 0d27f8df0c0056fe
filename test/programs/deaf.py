"""A port that never answers a SYN: its queue of one connection is full. Prints the port."""

import socket
import sys
import time

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(0)
address = listener.getsockname()
fillers = []
while True:
    filler = socket.socket()
    filler.settimeout(0.5)
    try:
        filler.connect(address)
        fillers.append(filler)
    except TimeoutError:
        break
print(f"PORT {address[1]}", flush=True)
sys.stdin.read()
