"""Guests: whole machines under qemu, for the kernels and byte orders that this machine has not.

architectures   the table of processors and of the machines that qemu makes of them
guests          the table of guests: an architecture, a kernel and a userland
cache           what was built once
programs, debian   other programs; Debian's packages
tree, bytecode, compiling   files on their way into an archive; byte code for another machine's Python
userland        programs, Python and its libraries, as a tar: the guest's, and the container's
kernel          a kernel and the modules that are wanted of it
initramfs       all that a guest finds when it starts, in one file
machine         a guest that runs: its console, its limit, what became of it
boot            the command
"""
