"""Sends Ethernet frames as they are: `frames.py INTERFACE`, one frame a line on stdin, in hex."""
import socket
import sys

out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((sys.argv[1], 0))
for line in sys.stdin:
    out.send(bytes.fromhex(line.strip()))
