"""The archive that a guest starts from, read by GNU cpio, which is not ours."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from qemu import initramfs
from qemu.initramfs import Cpio
from qemu.tree import Tree
from tests.conftest import require_program

ROOT = Path(__file__).resolve().parents[2]


def listed(archive: bytes) -> list[str]:
    """The names in an archive, as cpio lists them; it complains of nothing."""
    done = subprocess.run([require_program("cpio", "cpio"), "-t"], input=archive, capture_output=True, check=True)
    assert b"blocks" in done.stderr and len(done.stderr.splitlines()) == 1
    return done.stdout.decode().splitlines()


def unpacked(archive: bytes, folder: Path) -> Path:
    """A folder with the files of an archive; as in the kernel, an entry's folder has to come before it."""
    folder.mkdir()
    program = require_program("cpio", "cpio")
    # Without devices, which only root makes.
    argv = [program, "-i", "--quiet", "--no-absolute-filenames", "--nonmatching", "dev/*"]
    subprocess.run(argv, input=archive, cwd=folder, check=True)
    return folder


def userland(folder: Path) -> Path:
    """A small one, as userland.py leaves it."""
    path = folder / "userland-none-0000" / "userland.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        for name in ("bin", "usr", "usr/bin", "usr/lib", "usr/lib/s390x-linux-gnu"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for name in ("bin/tool", "usr/bin/tshark", "usr/lib/s390x-linux-gnu/libwireshark.so.16"):
            info = tarfile.TarInfo(name)
            info.size, info.mode = 5, 0o755
            archive.addfile(info, io.BytesIO(b"tool\n"))
    path.with_name("python").write_text("{}.{}".format(*sys.version_info))
    return path


def test_cpio_reads_every_kind_of_entry(tmp_path: Path) -> None:
    """Contents of every length around the alignment, links, modes, and a device."""
    out = io.BytesIO()
    cpio = Cpio(out)
    cpio.folder("folder", 0o1777)
    for length in range(9):
        cpio.file(f"folder/{'n' * (length + 1)}", bytes(range(length)), 0o640)
    cpio.copy("program", io.BytesIO(b"#!" * 1000), 0o755)
    cpio.link("link", "folder/n")
    cpio.device("console", 5, 1)
    cpio.end()
    verbose = subprocess.run(
        [require_program("cpio", "cpio"), "-tv", "--quiet", "--numeric-uid-gid"],
        input=out.getvalue(), capture_output=True, text=False, check=True,
    ).stdout.decode()  # fmt: skip
    assert "drwxrwxrwt   1 0        0" in verbose
    assert "crw-------   1 0        0          5,   1" in verbose
    archive = out.getvalue()
    names = listed(archive)
    assert len(names) == 13
    files = io.BytesIO()
    without = Cpio(files)
    for length in range(9):
        without.file("n" * (length + 1), bytes(range(length)), 0o640)
    without.copy("program", io.BytesIO(b"#!" * 1000), 0o755)
    without.link("link", "n")
    without.end()
    folder = unpacked(files.getvalue(), tmp_path / "unpacked")
    assert [(folder / ("n" * (length + 1))).read_bytes() for length in range(9)] == [bytes(range(n)) for n in range(9)]
    assert (folder / "program").read_bytes() == b"#!" * 1000
    assert os.access(folder / "program", os.X_OK)
    assert (folder / "link").readlink() == Path("n")


def test_a_guest_finds_the_repository_and_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What git knows is there as it is here, what only the container needs is not, and the mark is the last."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    modules = tmp_path / "modules"
    (modules / "lib/modules/6.1/kernel").mkdir(parents=True)
    (modules / "lib/modules/6.1/kernel/nlmon.ko").write_bytes(b"module")
    out = io.BytesIO()
    initramfs.write(out, userland(tmp_path), "bookworm", modules, ["sh", "-c", 'echo "a b"; exit 7'])
    names = listed(out.getvalue())
    assert names[-1] == initramfs.WHOLE
    assert "usr/lib/modules/6.1/kernel/nlmon.ko" in names
    assert "bin/tool" in names
    assert not any("tshark" in name or "wireshark" in name for name in names if not name.startswith("xtcp/"))

    folder = unpacked(out.getvalue(), tmp_path / "unpacked")
    here = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in here.decode().rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            assert (folder / "xtcp" / name).read_bytes() == (ROOT / name).read_bytes()
    assert (folder / "init").read_bytes() == (ROOT / "qemu/guest/init").read_bytes()
    done = subprocess.run(["sh", folder / "command"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("a b\n", 7)
    tag = f"cpython-{sys.version_info[0]}{sys.version_info[1]}"
    assert (folder / f"xtcp/agent/xtcp/__pycache__/errors.{tag}.pyc").is_file()


def test_a_tree_in_one_form(tmp_path: Path) -> None:
    """Whatever order, owner and time files had: sorted, root's, and what is linked hard is there twice."""

    def written(names: list[str], owner: int) -> bytes:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            for name in names:
                info = tarfile.TarInfo(f"./{name}")
                info.size, info.uid, info.mtime, info.mode = 4, owner, owner, 0o4755
                archive.addfile(info, io.BytesIO(name[-1].encode() * 4))
            hard = tarfile.TarInfo("./z")
            hard.type, hard.linkname = tarfile.LNKTYPE, f"./{names[0]}"
            archive.addfile(hard)
        raw.seek(0)
        with tarfile.open(fileobj=raw) as archive:
            tree = Tree(archive, lambda path: path != "left/out")
            tree.add("new/folder/file", b"new", 0o755)
            tree.link("link", "z")
            tree.link("a", "never")
            tree.write(tmp_path / "tree.tar")
        return (tmp_path / "tree.tar").read_bytes()

    first = written(["a", "left/out", "b"], 0)
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert archive.getnames() == ["a", "b", "link", "new", "new/folder", "new/folder/file", "z"]
        hard = archive.extractfile("z")
        assert hard is not None and hard.read() == b"aaaa"
        assert {(member.uid, member.gid, member.uname) for member in archive} == {(0, 0, "")}
        assert archive.getmember("a").mode == 0o755
        assert archive.getmember("a").isreg()
    again = written(["a", "b", "left/out"], 1000)
    assert again == first
