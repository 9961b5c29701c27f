# shellcheck shell=bash
# NumPy of requirements/run.txt, from its sdist, by the Meson that it carries; without BLAS and without optimisation, as
# its code for POWER's vector unit is for little-endian ones.
# needs: python

"$HOST_PYTHON" -m venv venv
export PATH=$PWD/venv/bin:$PATH
pip install --quiet --require-hashes --no-deps --requirement "$repository/requirements/cross.txt"

# pip verifies an sdist but does not hand it out before it knows its metadata, for which NumPy's build system would
# compile all of it for this machine: one that knows nothing answers instead.
pinned numpy run.txt >numpy.txt
version=$(sed -n 's/^numpy==\([^ ]*\).*/\1/p' numpy.txt)
mkdir stub
cat >stub/mesonpy.py <<END
import pathlib

def get_requires_for_build_wheel(settings=None):
    return []

def prepare_metadata_for_build_wheel(directory, settings=None):
    folder = pathlib.Path(directory, "numpy-$version.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: $version\n")
    return folder.name
END
PYTHONPATH=$PWD/stub pip download --quiet --no-deps --no-binary numpy --no-build-isolation --require-hashes --requirement numpy.txt
mkdir source
tar --extract --strip-components=1 --directory=source --file="numpy-$version.tar.gz"

# Meson asks the target's Python for its folders and its suffix of extension modules. That Python believes that it is
# at home in /usr, where this machine's headers are.
cp --archive --link "$the_python/usr" python
sed -i "s|/usr/include|$PWD/python/include|g" python/lib/python3.11/_sysconfigdata_*.py
cat >target-python <<END
#!/bin/sh
exec qemu-ppc64-static -L /usr/$TRIPLET $PWD/python/bin/python3.11 "\$@"
END
chmod +x target-python
cat >target.ini <<END
[binaries]
c = '$CROSS_CC'
cpp = '$CROSS_CXX'
ar = '$CROSS_AR'
strip = '$CROSS_STRIP'
python = '$PWD/target-python'
cython = '$PWD/venv/bin/cython'
exe_wrapper = ['qemu-ppc64-static', '-L', '/usr/$TRIPLET']
[host_machine]
system = 'linux'
cpu_family = 'ppc64'
cpu = 'ppc64'
endian = 'big'
[properties]
longdouble_format = 'IBM_DOUBLE_DOUBLE_BE'
END
meson() {
  python source/vendored-meson/meson/meson.py "$@"
}
meson setup objects source --cross-file target.ini --prefix=/usr --libdir=lib --buildtype=plain \
  -Dc_args=-O1 -Dcpp_args=-O1 -Dblas=none -Dlapack=none -Dallow-noblas=true \
  -Ddisable-optimization=true -Ddisable-highway=true -Ddisable-svml=true -Ddisable-intel-sort=true
ninja -C objects
DESTDIR=$out meson install -C objects --no-rebuild

packages=$out/usr/lib/python3.11/site-packages
find "$packages/numpy" \( -name '*.a' -o -name '*.pyi' \) -delete
find "$packages/numpy" -depth -type d -name tests -exec rm -r {} +
strip_all "$packages/numpy"
# What pip would have written, for importlib.metadata.
mkdir "$packages/numpy-$version.dist-info"
cp source/PKG-INFO "$packages/numpy-$version.dist-info/METADATA"
