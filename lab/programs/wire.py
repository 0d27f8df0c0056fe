"""A cable that loses, repeats and swaps frames.

wire.py LEFT RIGHT LOST REPEATED SWAPPED   carries frames between two interfaces; the shares are of 100 frames
wire.py plain INTERFACE                    has the kernel cut and sum packets before it sends them there
"""
import array
import fcntl
import random
import select
import socket
import struct
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SIOCETHTOOL = 0x8946
# ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO
FEATURES = (0x17, 0x1F, 0x24)
# Seconds that a frame waits at most to be overtaken.
HELD = 0.02


def plain(name):
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for feature in FEATURES:
        value = array.array("B", struct.pack("II", feature, 0))
        request = struct.pack("16sP", name.encode(), value.buffer_info()[0])
        try:
            fcntl.ioctl(asking, SIOCETHTOOL, request)
        except OSError:
            pass  # one switches others off


def carry(left, right, lost, repeated, swapped):
    ends = []
    for name in (left, right):
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        end.bind((name, 0))
        ends.append(end)
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    chance = random.Random(1)
    held = []  # frames that are sent behind the next one
    counts = {"carried": 0, "lost": 0, "repeated": 0, "swapped": 0}

    def send(end, frame):
        try:
            end.send(frame)
        except OSError:
            pass  # the interface is down, or the queue is full: the frame is lost

    print("READY", flush=True)
    told = time.monotonic()
    while True:
        ready, _, _ = select.select(ends, [], [], HELD)
        for end in ready:
            frame, (_, _, kind, _, _) = end.recvfrom(65536)
            if kind == PACKET_OUTGOING:
                continue
            counts["carried"] += 1
            if chance.random() * 100 < lost:
                counts["lost"] += 1
                continue
            if chance.random() * 100 < swapped:
                counts["swapped"] += 1
                held.append((time.monotonic(), other[end], frame))
                continue
            send(other[end], frame)
            if chance.random() * 100 < repeated:
                counts["repeated"] += 1
                send(other[end], frame)
            for _, to, late in held:
                send(to, late)
            held.clear()
        now = time.monotonic()
        for since, to, late in held:
            if now - since > HELD:
                send(to, late)
        held = [one for one in held if now - one[0] <= HELD]
        if now - told > 0.5:
            told = now
            print(" ".join(f"{count} {name}" for name, count in counts.items()), flush=True)


if sys.argv[1] == "plain":
    plain(sys.argv[2])
else:
    carry(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
