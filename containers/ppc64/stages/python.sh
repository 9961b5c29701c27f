# shellcheck shell=bash
# CPython, as upstream has it (Debian's patches move site-packages), with its libraries linked in: it needs glibc alone.
# needs: sources zlib libffi bzip2 xz openssl sqlite

unpack python3.11
# What configure would find out by running a program of the target.
cat >config.site <<'END'
ac_cv_file__dev_ptmx=yes
ac_cv_file__dev_ptc=no
ac_cv_buggy_getaddrinfo=no
END
# Modules that nothing here uses, many of them large tables.
cat >Modules/Setup.local <<'END'
*disabled*
_codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _multibytecodec
_crypt _curses _curses_panel _dbm _gdbm _tkinter audioop nis ossaudiodev readline spwd
END
include="" library=""
for prefix in "$the_zlib" "$the_libffi" "$the_bzip2" "$the_xz" "$the_sqlite"; do
  include+=" -I$prefix/include"
  library+=" -L$prefix/lib"
done
OPT="-DNDEBUG -O2" CONFIG_SITE=$PWD/config.site CPPFLAGS=$include LDFLAGS=$library \
  configure --prefix=/usr --with-build-python="$HOST_PYTHON" --with-openssl="$the_openssl/usr" --enable-ipv6 \
  --without-ensurepip --disable-test-modules
make
make install DESTDIR="$out"
strip_all "$out/usr"
