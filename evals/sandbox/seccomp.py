"""System calls that foreign code is refused, whatever the kernel lets it see; needs the standard library alone."""

from __future__ import annotations

import ctypes
import platform
import struct

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUALS, _SET, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000  # the low half of a refusal is errno
_EPERM, _EACCES, _ENOSYS = 1, 13, 38
_NUMBER, _ARCHITECTURE, _FIRST = 0, 4, 16  # where the call's data has them
_NEW_NAMESPACES = 0x7E020080
_X32 = 0x40000000

# Of each machine: its name for audits, then the numbers of what is refused, of signals, of clone, of socket.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        "ptrace 101 mount 165 umount2 166 pivot_root 155 chroot 161 unshare 272 setns 308 bpf 321 perf_event_open 298 "
        "keyctl 250 add_key 248 request_key 249 kexec_load 246 init_module 175 finit_module 313 delete_module 176 "
        "process_vm_readv 310 process_vm_writev 311 userfaultfd 323 open_by_handle_at 304 swapon 167 reboot 169 "
        "settimeofday 164 clock_settime 227",
        "kill 62 tkill 200 tgkill 234 rt_sigqueueinfo 129 rt_tgsigqueueinfo 297 pidfd_send_signal 424",
        56,
        41,
    ),
    "aarch64": (
        0xC00000B7,
        "ptrace 117 mount 40 umount2 39 pivot_root 41 chroot 51 unshare 97 setns 268 bpf 280 perf_event_open 241 "
        "keyctl 219 add_key 217 request_key 218 kexec_load 104 init_module 105 finit_module 273 delete_module 106 "
        "process_vm_readv 270 process_vm_writev 271 userfaultfd 282 open_by_handle_at 265 swapon 224 reboot 142 "
        "settimeofday 170 clock_settime 112",
        "kill 129 tkill 130 tgkill 131 rt_sigqueueinfo 138 rt_tgsigqueueinfo 240 pidfd_send_signal 424",
        220,
        198,
    ),
}
# These have one number everywhere. io_uring would open sockets past this filter.
_EVERYWHERE = "io_uring_setup 425 open_tree 428 move_mount 429 fsopen 430 fsmount 432 pidfd_getfd 438 mount_setattr 442"
_CLONE3 = 435  # its flags lie in memory, where no filter can read: libc falls back to clone


def refuse(*, sockets: bool, signals: bool = False) -> bool:
    """Refuse this process, and all it starts, what no program of a test needs.

    `sockets` refuses all that could lead anywhere, also to services of this machine, `signals` those to anyone, itself
    included. Returns False where the kernel or the machine has no such filter.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0 or platform.machine() not in _MACHINES:
        return False
    code = b"".join(
        struct.pack("HBBI", *each) for each in _program(platform.machine(), sockets=sockets, signals=signals)
    )
    held = ctypes.create_string_buffer(code, len(code))
    told = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    return bool(libc.prctl(_SECCOMP, _FILTER, ctypes.create_string_buffer(told, len(told)), 0, 0) == 0)


def _program(machine: str, *, sockets: bool, signals: bool) -> list[tuple[int, int, int, int]]:
    audit, refused, to_others, clone, socket = _MACHINES[machine]
    numbers = [
        int(word) for word in f"{refused} {_EVERYWHERE} {to_others if signals else ''}".split() if word.isdecimal()
    ]
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUALS, 1, 0, audit),
        (_RETURN, 0, 0, _REFUSE | _EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _REFUSE | _ENOSYS),
        (_EQUALS, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _REFUSE | _ENOSYS),
    ]
    for number in numbers:
        code += [(_EQUALS, 0, 1, number), (_RETURN, 0, 0, _REFUSE | _EPERM)]
    if sockets:
        code += [(_EQUALS, 0, 1, socket), (_RETURN, 0, 0, _REFUSE | _EACCES)]
    code += [(_EQUALS, 0, 3, clone), (_LOAD, 0, 0, _FIRST), (_SET, 0, 1, _NEW_NAMESPACES)]
    code += [(_RETURN, 0, 0, _REFUSE | _EPERM)]
    return [*code, (_RETURN, 0, 0, _ALLOW)]
