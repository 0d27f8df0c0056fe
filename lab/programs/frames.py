"""Sends Ethernet frames unchanged: `frames.py INTERFACE`, with one frame in hex on each line of stdin."""
import socket
import sys

out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((sys.argv[1], 0))
for line in sys.stdin:
    out.send(bytes.fromhex(line.strip()))
