#!/usr/bin/python3
"""no_uring.py COMMAND...: runs it under a seccomp filter in which io_uring_setup answers EPERM, as the
default profiles of container runtimes do."""

import ctypes
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
IO_URING_SETUP = 425  # the same number on every architecture
EPERM = 1
LOAD_WORD_ABS, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def main():
    instructions = [(LOAD_WORD_ABS, 0, 0, 0),  # seccomp_data.nr
                    (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
                    (RETURN, 0, 0, ERRNO | EPERM),
                    (RETURN, 0, 0, ALLOW)]
    code = b"".join(struct.pack("=HBBI", *i) for i in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = Program(len(instructions), ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
            PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        sys.exit("no_uring.py: %s on %s" % (os.strerror(ctypes.get_errno()), platform.machine()))
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
