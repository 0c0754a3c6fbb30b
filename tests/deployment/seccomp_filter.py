"""Write the system call filter of a service as bubblewrap takes it; run by Debian's own Python.

    /usr/bin/python3 seccomp_filter.py UNIT > FILE

The same rules as systemd's for SystemCallFilter=, RestrictAddressFamilies= and
MemoryDenyWriteExecute= (systemd.exec(5)).
"""

import errno
import mmap
import re
import socket
import subprocess
import sys

import seccomp


def expanded(names):
    """Return the system calls behind names and sets of names such as ``@system-service``."""
    calls = set()
    for name in names:
        if name.startswith("@"):
            listed = subprocess.run(
                ["systemd-analyze", "--no-pager", "syscall-filter", name],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            calls |= expanded(re.findall(r"^ +([@\w-]+)$", listed, re.MULTILINE))
        else:
            calls.add(name)
    return calls


def allowed(unit):
    """Return the system calls that the lines of *unit* leave."""
    calls = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        if line.startswith("~"):
            calls -= expanded(line[1:].split())
        else:
            calls |= expanded(line.split())
    return calls


def main():
    with open(sys.argv[1]) as file:
        unit = file.read()
    # What names no system call of this machine's kind is left out, as systemd does.
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    families = re.findall(r"^RestrictAddressFamilies=(.+)$", unit, re.MULTILINE)[-1].split()
    for call in sorted(allowed(unit)):
        try:
            number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, call)
        except ValueError:
            continue
        if number < 0:
            continue
        if call == "socket":
            for family in families:
                value = getattr(socket, family).value
                rules.add_rule(seccomp.ALLOW, call, seccomp.Arg(0, seccomp.EQ, value))
        elif call == "mmap":
            both = mmap.PROT_WRITE | mmap.PROT_EXEC
            for value in (0, mmap.PROT_WRITE, mmap.PROT_EXEC):
                rules.add_rule(seccomp.ALLOW, call, seccomp.Arg(2, seccomp.MASKED_EQ, both, value))
        elif call in ("mprotect", "pkey_mprotect"):
            rules.add_rule(
                seccomp.ALLOW, call, seccomp.Arg(2, seccomp.MASKED_EQ, mmap.PROT_EXEC, 0)
            )
        else:
            rules.add_rule(seccomp.ALLOW, call)
    rules.export_bpf(sys.stdout)


main()
