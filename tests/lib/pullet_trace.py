# SPDX-License-Identifier: MIT
"""Runs a program and its children under ptrace(2), reports each system call that can change any state, and kills at
one of them: just before it is executed, or just after.

A call that is not in HARMLESS counts as changing state, so that a missing entry hides nothing.
"""

import contextlib
import ctypes
import os
import re
import select
import signal
import struct
import subprocess
import threading
from dataclasses import dataclass

HARMLESS = frozenset("""
    access arch_prctl brk clock_getres clock_gettime clock_nanosleep close close_range dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 exit faccessat faccessat2
    fcntl fstat fstatfs futex get_robust_list getcwd getdents getdents64 getegid geteuid getgid
    getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
    getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid lseek
    lstat madvise membarrier mincore mmap mprotect mremap munmap nanosleep newfstatat open_by_handle_at
    personality pidfd_open pipe pipe2 poll ppoll prctl pread64 preadv prlimit64 pselect6 read readlink
    readlinkat readv recvfrom recvmsg restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_getaffinity sched_getparam sched_getscheduler
    sched_yield select set_robust_list set_tid_address setsockopt sigaltstack signalfd signalfd4
    socket socketpair stat statfs statx sysinfo time timer_create timer_delete timer_settime
    timerfd_create timerfd_gettime timerfd_settime times umask uname vmsplice wait4 waitid
    """.split())
OPENS = {"open": 1, "openat": 2, "creat": None}  # where the flags stand
CHANGING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

TRACEME, DETACH, CONT_SYSCALL, SETOPTIONS, GET_SYSCALL_INFO = 0, 17, 24, 0x4200, 0x420E
OPTIONS = 1 | 2 | 4 | 8 | 16 | 64 | 0x100000  # SYSGOOD FORK VFORK CLONE EXEC EXIT EXITKILL
SYSCALL_STOP, EXIT_EVENT = signal.SIGTRAP | 0x80, 6
WALL = 0x40000000
ENTRY, EXIT = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, pid, address=None, data=None):
    if _libc.ptrace(request, pid, address, data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, "ptrace: " + os.strerror(error))


def _read_names():
    """number -> name of this machine's system calls."""
    done = subprocess.run(["gcc", "-dM", "-E", "-include", "asm/unistd.h", "-x", "c", os.devnull],
                          capture_output=True, text=True, check=True)
    return {int(number): name
            for name, number in re.findall(r"#define __NR_(\w+) (\d+)$", done.stdout, re.M)}


_names = {}


def names():
    if not _names:
        _names.update(_read_names())
    return _names


@dataclass(frozen=True)
class Call:
    """One system call: the nth with this text in this program. It is the same in every run that takes the same path,
    so that a later run can be killed there."""
    program: str
    text: str
    nth: int

    def __str__(self):
        return f"{self.program}: {self.text}" + (f" ({self.nth})" if self.nth > 1 else "")


@dataclass
class Trace:
    calls: list
    struck: str = None  # where it was killed, if at all
    status: int = None  # of the program itself, as in subprocess
    output: str = ""

    def __str__(self):
        return f"status {self.status}\n{self.output}"


class _Teller:
    """Describes a call with a text that is the same in every run."""

    def __init__(self):
        self.ids, self.counts = {}, {}

    def number(self, found):
        return "#%d" % self.ids.setdefault(found[0], len(self.ids) + 1)

    def tidy(self, text):
        text = re.sub(r"(sha256:)?[0-9a-f]{64}", self.number, text)
        text = re.sub(r"127\.0\.0\.1:\d+/|(?<=/)v1\.\d+/", "", text)
        return re.sub(r"(?<=/events)\?.*", "", text)

    def data(self, text):
        request = re.match(r"([A-Z]+) (\S+) HTTP/1", text)
        if request:
            return self.tidy(f"{request[1]} {request[2]}")
        words = re.findall(r'"(?:event|phase|result)": ?"([\w-]+)"', text)
        return " ".join(words)

    def call(self, program, text):
        key = (program, text)
        self.counts[key] = self.counts.get(key, 0) + 1
        return Call(program, text, self.counts[key])


class _Process:
    """The state of one traced process."""

    def __init__(self, pid):
        self.pid, self.fresh, self.call, self.program = pid, True, None, "?"
        self.look()

    def look(self):
        with contextlib.suppress(OSError):
            self.program = os.path.basename(os.readlink(f"/proc/{self.pid}/exe"))

    def memory(self, address, size):
        try:
            with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
                memory.seek(address)
                return memory.read(size)
        except OSError:
            return b""

    def string(self, address):
        return self.memory(address, 256).split(b"\0")[0].decode(errors="replace")

    def file(self, fd):
        try:
            name = os.readlink(f"/proc/{self.pid}/fd/{fd}")
        except OSError:
            return "?"
        return name.split(":")[0] if re.match(r"\w+:", name) else os.path.basename(name)

    def changes(self, name, args):
        """Whether this call can change any state."""
        if name in OPENS and OPENS[name] is not None:
            return bool(args[OPENS[name]] & CHANGING_FLAGS)
        return name not in HARMLESS

    def tell(self, teller, name, args):
        if name in ("write", "sendto", "pwrite64"):
            text = self.memory(args[1], min(args[2], 512)).decode(errors="replace")
        elif name in ("writev", "sendmsg", "sendmmsg"):
            at = args[1] if name == "writev" else struct.unpack("Q", self.memory(args[1] + 16, 8))[0]
            base, size = struct.unpack("QQ", self.memory(at, 16))
            text = self.memory(base, min(size, 512)).decode(errors="replace")
        elif name == "connect":
            address = self.memory(args[1], min(args[2], 128))
            unix = address[:2] == struct.pack("H", 1)
            return "connect " + (os.path.basename(address[2:].split(b"\0")[0].decode())
                                 if unix else "network")
        elif name in ("execve", "unlink", "rename", "mkdir", "rmdir", "creat", "open"):
            return f"{name} {os.path.basename(self.string(args[0]))}"
        elif name in ("openat", "unlinkat", "renameat", "renameat2", "mkdirat"):
            return f"{name} {self.string(args[1])}"
        elif name in ("fsync", "fdatasync", "ftruncate", "flock", "syncfs", "fchmod", "fchown"):
            return f"{name} {self.file(args[0])}"
        else:
            return name
        said = teller.data(text)
        return said if said[:1].isupper() else f"{name} {self.file(args[0])} {said}".rstrip()


def run(command, strike=None, env=None, seconds=120):
    """Runs command to the end of all its processes.

    strike(call, side, number) is called at each call that changes state, with "before" or "after" and the number of
    calls so far. Its return value decides what is killed at that instant: "process" (that one alone), "group" (all of
    them), or a function that is called. Then it is not called again. -> Trace
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, env=env, start_new_session=True,
                               preexec_fn=lambda: _ptrace(TRACEME, 0))
    late = threading.Timer(seconds, lambda: os.killpg(process.pid, signal.SIGKILL))
    late.start()
    try:
        trace = _Follower(process, strike).follow()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        expired = not late.is_alive()
        late.cancel()
    trace.output = process.stdout.read().decode(errors="replace")
    process.stdout.close()
    if expired:
        raise TimeoutError(f"{command[0]} did not end in {seconds} s:\n{trace}")
    return trace


class _Follower:
    """Runs the processes of one group from call to call."""

    def __init__(self, process, strike):
        self.root, self.strike = process, strike
        self.teller, self.trace = _Teller(), Trace([])
        self.processes, self.dying = {}, []

    def hit(self, it, side):
        """-> True: it is dead and must not be resumed."""
        victim = self.strike and self.strike(it.call, side, len(self.trace.calls))
        if not victim:
            return False
        self.strike = None
        self.trace.struck = f"{side} {it.call}"
        if victim == "process":
            os.kill(it.pid, signal.SIGKILL)
        elif victim == "group":
            os.killpg(self.root.pid, signal.SIGKILL)
        else:
            victim()
        return victim in ("process", "group")

    def at_call(self, it):
        """-> True: it is dead."""
        info = ctypes.create_string_buffer(88)
        _ptrace(GET_SYSCALL_INFO, it.pid, len(info), ctypes.cast(info, ctypes.c_void_p))
        if info.raw[0] == ENTRY:
            number, *args = struct.unpack("7Q", info.raw[24:80])
            name = names().get(number, f"call {number}")
            it.call = None
            if it.changes(name, args):
                it.call = self.teller.call(it.program, it.tell(self.teller, name, args))
                self.trace.calls.append(it.call)
                return self.hit(it, "before")
        elif info.raw[0] == EXIT and it.call:
            return self.hit(it, "after")
        return False

    def stopped(self, it, status):
        sign, event = os.WSTOPSIG(status), status >> 16
        if event == EXIT_EVENT:
            # Its parent must see it die as usual: a zombie that its tracer has not seen yet makes
            # waitid() return nothing, and sd-event calls it only once.
            self.dying.append(os.pidfd_open(it.pid))
            del self.processes[it.pid]  # the number may be reused
            return _ptrace(DETACH, it.pid)
        if sign == SYSCALL_STOP:
            if self.at_call(it):
                return None
            sign = 0
        elif event:
            it.look()
            sign = 0
        elif it.fresh and sign == signal.SIGSTOP:
            it.fresh = False
            sign = 0
        return _ptrace(CONT_SYSCALL, it.pid, None, sign)

    def follow(self):
        os.waitpid(self.root.pid, 0)  # its first execve
        _ptrace(SETOPTIONS, self.root.pid, None, OPTIONS)
        _ptrace(CONT_SYSCALL, self.root.pid)
        while True:
            try:
                # Only our group: other children of this program are waited for elsewhere.
                pid, status = os.waitpid(-self.root.pid, WALL)
            except ChildProcessError:
                break
            if os.WIFSTOPPED(status):
                if pid not in self.processes:
                    self.processes[pid] = _Process(pid)
                with contextlib.suppress(ProcessLookupError):  # killed meanwhile
                    self.stopped(self.processes[pid], status)
                continue
            self.processes.pop(pid, None)
            if pid == self.root.pid:
                self.trace.status = self.root.returncode = os.waitstatus_to_exitcode(status)
        for end in self.dying:
            select.select([end], [], [])
            os.close(end)
        return self.trace
