"""Ways to write to prod, each tried in a process of its own, on a prod of its own.

Run by path, inside or outside a fence: `trespasses.py WORLD OUTSIDE_PID IS_FENCED NAME…`; prints
{name: null or the error that stopped it}.  WORLD/prod/NAME is attacked, WORLD/place/NAME is the
attacker's own folder.
"""

import ctypes
import fcntl
import json
import mmap
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
import traceback

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
ATTACKS = {}
KEEPER = os.getppid()
MS_BIND, MS_REMOUNT = 0x1000, 0x20


class Scene:
    def __init__(self, world, name, outside, is_fenced):
        self.prod = f"{world}/prod/{name}"
        self.place = f"{world}/place/{name}"
        self.file = f"{self.prod}/module.py"
        self.outside = outside
        self.keeper = KEEPER
        self.is_fenced = is_fenced


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def mount(source, target, kind=None, flags=0):
    checked(
        libc.mount(
            source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), None
        )
    )


def own_mounts(scene):
    """The control run must not leave its mounts on the machine."""
    if not scene.is_fenced:
        checked(libc.unshare(0x20000))
        checked(libc.mount(None, b"/", None, ctypes.c_ulong(0x4000 | 0x40000), None))


def append(path):
    with open(path, "a") as file:
        file.write("# evil\n")


@attack
def open_for_writing(s):
    open(s.file, "w").close()


@attack
def open_for_append(s):
    append(s.file)


@attack
def open_for_update(s):
    with open(s.file, "r+") as file:
        file.write("evil")


@attack
def open_with_truncate_only(s):
    os.close(os.open(s.file, os.O_RDONLY | os.O_TRUNC))


@attack
def truncate(s):
    os.truncate(s.file, 0)


@attack
def replace_into(s):
    append(f"{s.place}/evil")
    os.replace(f"{s.place}/evil", s.file)


@attack
def rename_away(s):
    os.rename(s.file, f"{s.place}/stolen")


@attack
def rename_within(s):
    os.rename(s.file, s.file + ".old")


@attack
def exchange(s):
    append(f"{s.place}/evil")
    paths = f"{s.place}/evil".encode(), s.file.encode()
    checked(libc.renameat2(-100, paths[0], -100, paths[1], 2))


@attack
def unlink(s):
    os.unlink(s.file)


@attack
def rmdir(s):
    os.rmdir(f"{s.prod}/empty")


@attack
def rmtree(s):
    shutil.rmtree(f"{s.prod}/package")


@attack
def mkdir(s):
    os.mkdir(f"{s.prod}/evil")


@attack
def create_pth(s):
    append(f"{s.prod}/evil.pth")


@attack
def symlink_into(s):
    os.symlink("/nowhere", f"{s.prod}/evil")


@attack
def hardlink_into(s):
    append(f"{s.place}/evil")
    os.link(f"{s.place}/evil", f"{s.prod}/evil")


@attack
def hardlink_out(s):
    os.link(s.file, f"{s.place}/twin")
    append(f"{s.place}/twin")


@attack
def hardlink_out_by_descriptor(s):
    found = os.open(s.file, os.O_RDONLY)
    checked(
        libc.linkat(-100, f"/proc/self/fd/{found}".encode(), -100, f"{s.place}/t".encode(), 0x400)
    )
    append(f"{s.place}/t")


@attack
def symlink_through(s):
    os.symlink(s.file, f"{s.place}/link")
    append(f"{s.place}/link")


@attack
def mknod(s):
    os.mknod(f"{s.prod}/evil", stat.S_IFREG | 0o600)


@attack
def mkfifo(s):
    os.mkfifo(f"{s.prod}/evil")


@attack
def chmod(s):
    os.chmod(s.file, 0o777)


@attack
def chmod_by_descriptor(s):
    os.fchmod(os.open(s.file, os.O_RDONLY), 0o777)


@attack
def chown(s):
    os.chown(s.file, os.getuid(), os.getgid())


@attack
def utime(s):
    os.utime(s.file, (1, 1))


@attack
def utime_by_descriptor(s):
    os.utime(os.open(s.file, os.O_RDONLY), (1, 1))


@attack
def setxattr(s):
    os.setxattr(s.file, "user.evil", b"1")


@attack
def removexattr(s):
    os.removexattr(s.file, "user.ours")


@attack
def inode_flags(s):
    flags = bytearray(8)
    found = os.open(s.file, os.O_RDONLY)
    fcntl.ioctl(found, 0x80086601, flags)
    fcntl.ioctl(found, 0x40086602, struct.pack("l", struct.unpack("l", flags)[0] | 0x40))


@attack
def mapped(s):
    with open(s.file, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[0:4] = b"evil"


@attack
def mapped_private_upgraded(s):
    with open(s.file, "rb") as file:
        with mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ):
            pass
        again = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDWR)
    with mmap.mmap(again, 0) as view:
        view[0:4] = b"evil"


@attack
def reopened_descriptor(s):
    append(f"/proc/self/fd/{os.open(s.file, os.O_RDONLY)}")


@attack
def path_descriptor(s):
    append(f"/proc/self/fd/{os.open(s.file, os.O_PATH)}")


@attack
def relative_to_folder(s):
    os.chdir(s.prod)
    append("module.py")


@attack
def relative_to_descriptor(s):
    folder = os.open(s.prod, os.O_RDONLY | os.O_DIRECTORY)
    os.write(os.open("module.py", os.O_WRONLY, dir_fd=folder), b"evil")


@attack
def fallocate(s):
    os.posix_fallocate(os.open(s.file, os.O_RDWR), 0, 8192)


@attack
def sendfile(s):
    source = os.open(__file__, os.O_RDONLY)
    os.sendfile(os.open(s.file, os.O_WRONLY), source, 0, 100)


@attack
def copy_file_range(s):
    source = os.open(f"{s.prod}/package/inner.py", os.O_RDONLY)
    os.copy_file_range(source, os.open(s.file, os.O_WRONLY), 10)


@attack
def io_uring(s):
    """IORING_OP_OPENAT for writing, without any open() of our own."""
    parameters = (ctypes.c_uint32 * 30)()
    ring = checked(libc.syscall(425, 4, ctypes.byref(parameters)))
    sq_tail, sq_array = parameters[11], parameters[16]
    cq_head, cq_tail, cqes = parameters[20], parameters[21], parameters[25]
    rings = mmap.mmap(ring, 4096, offset=0)
    completions = mmap.mmap(ring, 4096, offset=0x8000000)
    entries = mmap.mmap(ring, 4096, offset=0x10000000)
    path = ctypes.create_string_buffer(s.file.encode())
    entries[0:64] = struct.pack(
        "<BBHiQQIIQ24x", 18, 0, 0, -100, 0, ctypes.addressof(path), 0, os.O_WRONLY, 0
    )
    rings[sq_array : sq_array + 4] = struct.pack("<I", 0)
    rings[sq_tail : sq_tail + 4] = struct.pack("<I", 1)
    checked(libc.syscall(426, ring, 1, 1, 1, None, 0))
    assert completions[cq_head : cq_head + 4] != completions[cq_tail : cq_tail + 4]
    result = struct.unpack("<i", completions[cqes + 8 : cqes + 12])[0]
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    os.write(result, b"evil")


@attack
def shell_child(s):
    done = subprocess.run(["sh", "-c", f"echo evil >> '{s.file}'"], capture_output=True, text=True)
    if done.returncode:
        raise OSError(0, done.stderr.strip())


@attack
def daemon(s):
    """Forked twice, in a session of its own, writing after its parents are gone."""
    answer = f"{s.place}/answer"
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(0.1)
            told = error_of(open_for_append, s)
            with open(answer + ".part", "w") as file:
                json.dump(told, file)
            os.rename(answer + ".part", answer)
        os._exit(0)
    os.wait()
    while not os.path.exists(answer):
        time.sleep(0.01)
    with open(answer) as file:
        if told := json.load(file):
            raise OSError(0, told)


@attack
def bind_mount(s):
    own_mounts(s)
    mount(s.prod, s.place, flags=MS_BIND)
    append(f"{s.place}/module.py")


@attack
def remount(s):
    own_mounts(s)
    mount("none", "/", flags=MS_BIND | MS_REMOUNT)
    append(s.file)


@attack
def new_filesystem_over_prod(s):
    own_mounts(s)
    mount("none", s.prod, "tmpfs")


@attack
def cloned_tree(s):
    """open_tree(OPEN_TREE_CLONE): a detached mount of prod."""
    own_mounts(s)
    tree = checked(libc.syscall(428, -100, s.prod.encode(), 1))
    os.write(os.open("module.py", os.O_WRONLY, dir_fd=tree), b"evil")


@attack
def mount_attributes(s):
    """mount_setattr(2) that clears the read-only flag."""
    own_mounts(s)
    words = struct.pack("QQQQ", 0, 1, 0, 0)
    checked(libc.syscall(442, -100, b"/", 0, words, len(words)))
    append(s.file)


@attack
def nested_user_namespace(s):
    tricks = "mount -o remount,rw,bind /; mount -t tmpfs none /mnt; umount -l /"
    script = f"({tricks}) 2>/dev/null; echo evil >> '{s.file}'"
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", script], capture_output=True, text=True)
    if done.returncode:
        raise OSError(0, done.stderr.strip())


@attack
def nested_process_namespace(s):
    script = f"echo evil >> '{s.file}'"
    command = ["unshare", "-Urpf", "--mount-proc", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(0, done.stderr.strip())


@attack
def chroot(s):
    os.chroot(os.path.dirname(s.prod))
    append(f"/{os.path.basename(s.prod)}/module.py")


@attack
def enter_outside_mounts(s):
    checked(libc.setns(os.open(f"/proc/{s.outside}/ns/mnt", os.O_RDONLY), 0x20000))
    append(s.file)


@attack
def root_of_outside_process(s):
    append(f"/proc/{s.outside}/root{s.file}")


@attack
def folder_of_outside_process(s):
    append(f"/proc/{s.outside}/cwd/prod/{os.path.basename(s.prod)}/module.py")


@attack
def memory_of_outside_process(s):
    os.close(os.open(f"/proc/{s.outside}/mem", os.O_RDWR))


@attack
def memory_of_keeper(s):
    os.close(os.open(f"/proc/{s.keeper}/mem", os.O_RDWR))


@attack
def root_of_keeper(s):
    append(f"/proc/{s.keeper}/root{s.file}")


@attack
def ptrace(s):
    checked(libc.ptrace(0x4206, s.outside, None, None))  # PTRACE_SEIZE does not stop it


@attack
def process_vm_writev(s):
    """One byte to an address nobody maps: EFAULT says that access was granted."""
    here = ctypes.create_string_buffer(1)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(here), 1)
    far = (ctypes.c_size_t * 2)(8, 1)
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    result = libc.process_vm_writev(
        s.outside, ctypes.byref(local), one, ctypes.byref(far), one, none
    )
    if result < 0 and ctypes.get_errno() != 14:
        checked(result)


@attack
def signal_to_outside_process(s):
    os.kill(s.outside, signal.SIGCONT)


@attack
def file_handle(s):
    """open_by_handle_at by way of a mount that may be written."""
    handle = (ctypes.c_char * 136)()
    struct.pack_into("I", handle, 0, 128)
    number = ctypes.c_int()
    place = os.open(s.place, os.O_RDONLY | os.O_DIRECTORY)
    checked(libc.name_to_handle_at(-100, s.file.encode(), handle, ctypes.byref(number), 0))
    os.write(checked(libc.open_by_handle_at(place, handle, os.O_WRONLY)), b"evil")


def block_device():
    for name in ("/dev/loop0", *(f"/dev/{name}" for name in sorted(os.listdir("/dev")))):
        if os.path.exists(name) and stat.S_ISBLK(os.stat(name).st_mode):
            return name
    # Masked inside a fence: any disk that must be there will do.
    return "/dev/loop0"


@attack
def raw_disk(s):
    found = os.open(block_device(), os.O_WRONLY)
    if not stat.S_ISBLK(os.fstat(found).st_mode):
        raise OSError(0, "no disk")


@attack
def own_device_of_disk(s):
    os.mknod(f"{s.place}/disk", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    os.close(os.open(f"{s.place}/disk", os.O_WRONLY))


@attack
def core_pattern(s):
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))


@attack
def sysrq(s):
    os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))


def error_of(function, scene):
    try:
        function(scene)
    except OSError as error:
        return error.strerror or repr(error)
    return None


def try_apart(name, scene):
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        try:
            os.write(write_end, json.dumps(error_of(ATTACKS[name], scene)).encode())
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        told = answer.read()
    os.wait()
    return json.loads(told) if told else "BROKEN"


if __name__ == "__main__":
    world, outside, is_fenced, *names = sys.argv[1:]
    results = {
        name: try_apart(name, Scene(world, name, int(outside), is_fenced == "yes"))
        for name in names
    }
    sys.stdout.write(json.dumps(results))
