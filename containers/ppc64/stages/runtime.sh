# shellcheck shell=bash
# What is there before any program: folders, users, glibc, its locale and the compilers' runtime libraries.

mkdir -p "$out"/{dev,etc,mnt,proc,root,run,sys,tmp,usr/bin,usr/sbin,usr/lib/"$TRIPLET",var/lib,var/tmp,xtcp}
chmod 1777 "$out/tmp" "$out/var/tmp"
ln -s "lib/$TRIPLET" "$out/usr/lib64"
for folder in bin sbin lib lib64; do
  ln -s "usr/$folder" "$out/$folder"
done
ln -s /run "$out/var/run"

for library in ld64.so.1 libatomic.so.1 libc.so.6 libdl.so.2 libgcc_s.so.1 libm.so.6 libnss_dns.so.2 libnss_files.so.2 \
  libpthread.so.0 libresolv.so.2 librt.so.1 libstdc++.so.6 libutil.so.1; do
  install -m 755 "/usr/$TRIPLET/lib/$library" "$out/usr/lib/$TRIPLET/"
done
strip_all "$out/usr/lib/$TRIPLET"

mkdir "$out/usr/lib/locale"
localedef --no-archive --big-endian --inputfile=C --charmap=UTF-8 "$out/usr/lib/locale/C.utf8"

# The repository, when it is at /xtcp, as the commands that an installation has.
mkdir -p "$out/usr/local/bin"
# shellcheck disable=SC2016 # for the program's own shell
for program in xtcp:xtcp xtcp-replay:xtcp_replay; do
  printf '%s\n' '#!/bin/sh' 'export PYTHONPATH=/xtcp/agent:/xtcp/replay${PYTHONPATH:+:$PYTHONPATH}' \
    "exec python3 -m ${program#*:} \"\$@\"" >"$out/usr/local/bin/${program%:*}"
done
chmod 755 "$out"/usr/local/bin/*

cd "$out/etc"
printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' >passwd
printf '%s\n' 'root:x:0:' 'tty:x:5:' 'nogroup:x:65534:' >group
printf '%s\n' '127.0.0.1 localhost' '::1 localhost ip6-localhost ip6-loopback' >hosts
printf '%s\n' 'passwd: files' 'group: files' 'hosts: files dns' 'services: files' 'protocols: files' >nsswitch.conf
printf '%s\n' 'PRETTY_NAME="xtcp ppc64 userland, from source"' 'ID=xtcp' >os-release
cp /etc/{protocols,services} .
