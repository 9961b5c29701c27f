# shellcheck shell=bash
# For Python's ctypes.
# needs: sources

unpack libffi
configure --prefix= --libdir=/lib --disable-shared --enable-static --with-pic --disable-docs --disable-multi-os-directory
make
make install DESTDIR="$out"
