# shellcheck shell=bash
# All of it in one tar archive, without what only builds and tests of Python itself need, after a test under qemu.
# needs: runtime openssl python numpy busybox bash iproute2 tcpdump wheels zstandard

for part in "$the_runtime" "$the_busybox" "$the_bash" "$the_iproute2" "$the_tcpdump" "$the_openssl" "$the_python" \
  "$the_numpy" "$the_wheels" "$the_zstandard"; do
  mkdir -p root
  tar --create --directory="$part" . | tar --extract --keep-directory-symlink --directory=root
done
rm -rf root/usr/{include,share} root/usr/lib/{pkgconfig,lib*.a}
strip_all root/usr/bin
(
  cd root/usr/lib/python3.11
  rm -rf test idlelib tkinter turtledemo lib2to3 ensurepip pydoc_data config-3.11-* {distutils,unittest,sqlite3,ctypes}/test{,s}
  rm -rf site-packages/numpy/{_core/include,_core/lib,f2py/src,_pyinstaller}
)

# Byte code is the same for every machine; compiled at each start it would be slow under emulation. Unchecked, as the
# times of files are of no account here.
find root/usr/lib/python3.11 -depth -name __pycache__ -exec rm -r {} +
"$HOST_PYTHON" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$PWD/root" -p / root/usr/lib/python3.11

run() {
  qemu-ppc64-static -L root "root/usr/$1" "${@:2}"
}
run bin/python3 - <<'END'
import sys
assert sys.byteorder == "big", sys.byteorder
import bz2, ctypes, hashlib, lzma, sqlite3, ssl, zlib
import numpy
assert int(numpy.frombuffer(b"\1\2", "=u2")[0]) == 0x0102
assert ctypes.CDLL(None).htons(0x0102) == 0x0102
assert sqlite3.connect(":memory:").execute("SELECT 40 + 2").fetchone() == (42,)
ssl.create_default_context()
assert zlib.decompress(zlib.compress(b"z")) == bz2.decompress(bz2.compress(b"z")) == lzma.decompress(lzma.compress(b"z"))
import zstandard
assert zstandard.backend == "cext", zstandard.backend
assert zstandard.decompress(zstandard.compress(b"z")) == b"z"
import docker, google.protobuf, hypothesis, prometheus_client, pyroute2, pytest, pytest_timeout, scapy, uvicorn, yaml
print(sys.version, sys.byteorder, "NumPy", numpy.__version__, ssl.OPENSSL_VERSION)
END
run bin/bash -c 'echo "bash $BASH_VERSION"'
run bin/busybox uname -m
run bin/ss -V
run sbin/ip -V
run sbin/tc -V
run bin/tcpdump --version
run bin/openssl version

tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --directory=root --file="$out/userland.tar" .
