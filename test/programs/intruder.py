"""What a worker that was taken over could try: intruder.py UID SUPERVISOR WORKER DATADIR, as root, becomes the user UID and
tries everything. Prints one JSON object: for each attempt the system's error, or "done"."""

import ctypes
import errno
import json
import os
import signal
import sys

uid, supervisor, worker = map(int, sys.argv[1:4])
data = sys.argv[4]
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
PROCESS_VM_READV, PIDFD_OPEN, PIDFD_GETFD = (310, 434, 438) if os.uname().machine == "x86_64" else (270, 434, 438)

if uid != os.geteuid():
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def memory(pid):
    # The kernel checks the right to read when the file is opened.
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))


def trace(pid):
    called(libc.ptrace(PTRACE_ATTACH, pid, None, None))
    os.waitpid(pid, 0)
    called(libc.ptrace(PTRACE_DETACH, pid, None, None))


def system_call(number, *args):
    # An int would leave the upper half of its register or its place on the stack as it is.
    return libc.syscall(ctypes.c_long(number), *(ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args))


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def read_memory(pid):
    buffer = ctypes.create_string_buffer(8)
    local = Vector(ctypes.cast(buffer, ctypes.c_void_p), 8)
    remote = Vector(0x1000, 8)
    try:
        count, flags = ctypes.c_ulong(1), ctypes.c_ulong(0)
        called(system_call(PROCESS_VM_READV, pid, ctypes.byref(local), count, ctypes.byref(remote), count, flags))
    except OSError as error:
        # The address is wrong, but the kernel would have read it.
        if error.errno != errno.EFAULT:
            raise


def take_descriptor(pid):
    handle = called(system_call(PIDFD_OPEN, pid, 0))
    os.close(called(system_call(PIDFD_GETFD, handle, 0, 0)))


def write(path):
    with open(path, "wb"):
        pass
    os.unlink(path)


def read(path):
    with open(path, "rb") as file:
        file.read(1)


ATTEMPTS = {
    **{
        f"{what} of the {whose}": (lambda act=act, pid=pid: act(pid))
        for whose, pid in (("supervisor", supervisor), ("worker", worker))
        for what, act in (
            ("mem", memory),
            ("environ", lambda pid: read(f"/proc/{pid}/environ")),
            ("descriptors", lambda pid: os.listdir(f"/proc/{pid}/fd")),
            ("trace", trace),
            ("process_vm_readv", read_memory),
            ("pidfd_getfd", take_descriptor),
        )
    },
    "stop the supervisor": lambda: (os.kill(supervisor, signal.SIGSTOP), os.kill(supervisor, signal.SIGCONT)),
    "debugger of the supervisor": lambda: os.kill(supervisor, signal.SIGUSR1),
    "debugger of the worker": lambda: os.kill(worker, signal.SIGUSR1),
    "list the data folder": lambda: os.listdir(data),
    "read a CA key": lambda: read(f"{data}/ca/primary-ecdsa.key"),
    "replace a CA key": lambda: os.rename(f"{data}/ca/primary-ecdsa.key", f"{data}/ca/primary-ecdsa.key"),
    "read the token": lambda: read(f"{data}/token"),
    "read the history": lambda: read(f"{data}/history.db"),
    "write the data folder": lambda: write(f"{data}/new"),
    "write what workers execute": lambda: write(f"{data}/compiled/new"),
    "write beside the CA keys": lambda: write(f"{data}/ca/new"),
    "write the journal": lambda: write(f"{data}/inline.json.new"),
}

outcomes = {}
for name, attempt in ATTEMPTS.items():
    try:
        attempt()
        outcomes[name] = "done"
    except OSError as error:
        outcomes[name] = errno.errorcode.get(error.errno, str(error))
print(json.dumps(outcomes))
