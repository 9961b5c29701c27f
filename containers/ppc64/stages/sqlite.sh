# shellcheck shell=bash
# pyroute2 imports sqlite3 when it is imported.
# needs: sources

unpack sqlite3
# Debian has the source tree, not the one file that it is compiled from. Made for this machine, as it runs its own tools.
./configure --disable-tcl --disable-readline --disable-shared
make sqlite3.c
"$CROSS_CC" -O0 -fPIC -DSQLITE_THREADSAFE=1 -c sqlite3.c # speed is of no use to the tests
"$CROSS_AR" rcs libsqlite3.a sqlite3.o
install -D -t "$out/include" sqlite3.h src/sqlite3ext.h
install -D -t "$out/lib" libsqlite3.a
