# shellcheck shell=bash
# needs: sources

unpack zlib
CHOST=$TRIPLET CFLAGS="-O2 -fPIC" ./configure --static --prefix=
make libz.a
make install DESTDIR="$out"
