"""Fills the connection table of this network namespace with connections that the kernel does not drop early.

fill-conntrack.py SECONDS   their time; prints how many there are
"""
import socket
import struct
import sys

NETLINK_NETFILTER = 12
NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW = 1, 0
NLM_F_REQUEST, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x200, 0x400
NESTED = 0x8000
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_TIMEOUT = 1, 2, 3, 7
SEEN_REPLY_ASSURED_CONFIRMED = 0xE
BATCH = 200


def attribute(kind, value):
    return struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def tuple_of(kind, source, destination, source_port, destination_port):
    addresses = attribute(1, source) + attribute(2, destination)
    ports = attribute(1, b"\x11") + attribute(2, struct.pack("!H", source_port))
    ports += attribute(3, struct.pack("!H", destination_port))
    return attribute(kind | NESTED, attribute(1 | NESTED, addresses) + attribute(2 | NESTED, ports))


def message(index, seconds):
    source = bytes((198, 18, index >> 24, index >> 16 & 255))
    port = index & 0xFFFF
    server = bytes((198, 51, 100, 1))
    body = struct.pack("!BBH", socket.AF_INET, 0, 0)
    body += tuple_of(CTA_TUPLE_ORIG, source, server, port, 9)
    body += tuple_of(CTA_TUPLE_REPLY, server, source, 9, port)
    body += attribute(CTA_STATUS, struct.pack("!I", SEEN_REPLY_ASSURED_CONFIRMED))
    body += attribute(CTA_TIMEOUT, struct.pack("!I", seconds))
    flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
    head = struct.pack("IHHII", 16 + len(body), NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, flags, index, 0)
    return head + body


def read(name):
    with open(f"/proc/sys/net/netfilter/nf_conntrack_{name}") as file:
        return int(file.read())


out = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
most, index = read("max"), 1
while read("count") < most and index < 2 * most:
    out.send(b"".join(message(index + at, int(sys.argv[1])) for at in range(BATCH)))
    index += BATCH
    # The kernel answers what it refuses.
    while True:
        try:
            out.recv(65536, socket.MSG_DONTWAIT)
        except OSError:
            break
print(read("count"), "of", most)
