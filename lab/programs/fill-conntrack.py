"""Fills the connection table of this network namespace with connections that the kernel does not drop early.

fill-conntrack.py SECONDS PERCENT   their time, and how full the table shall be; prints how many there are
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


def pattern(port, seconds):
    """The parts of a message, which a source's last two bytes join."""
    source, server, mark = bytes((198, 18)), bytes((198, 51, 100, 1)), b"\xAB\xCD"
    body = struct.pack("!BBH", socket.AF_INET, 0, 0)
    body += tuple_of(CTA_TUPLE_ORIG, source + mark, server, port, 9)
    body += tuple_of(CTA_TUPLE_REPLY, server, source + mark, 9, port)
    body += attribute(CTA_STATUS, struct.pack("!I", SEEN_REPLY_ASSURED_CONFIRMED))
    body += attribute(CTA_TIMEOUT, struct.pack("!I", seconds))
    flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
    head = struct.pack("IHHII", 16 + len(body), NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, flags, 0, 0)
    first, second, last = (head + body).split(source + mark)
    return first + source, second + source, last


def read(name):
    with open(f"/proc/sys/net/netfilter/nf_conntrack_{name}") as file:
        return int(file.read())


out = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
seconds, most = int(sys.argv[1]), read("max")
wanted = most * int(sys.argv[2]) // 100
HOSTS = [struct.pack("!H", host) for host in range(65536)]
for port in range(1, 2 + 2 * wanted // len(HOSTS)):
    parts = pattern(port, seconds)
    for at in range(0, len(HOSTS), BATCH):
        if read("count") >= wanted:
            break
        out.send(b"".join(host.join(parts) for host in HOSTS[at : at + BATCH]))
        # The kernel answers what it refuses.
        while True:
            try:
                out.recv(65536, socket.MSG_DONTWAIT)
            except OSError:
                break
print(read("count"), "of", most)
