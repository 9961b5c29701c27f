# shellcheck shell=bash
# needs: sources

unpack bzip2
make CC="$CROSS_CC" AR="$CROSS_AR" RANLIB="$CROSS_RANLIB" CFLAGS="-O2 -fPIC -D_FILE_OFFSET_BITS=64" libbz2.a
install -D -t "$out/include" bzlib.h
install -D -t "$out/lib" libbz2.a
