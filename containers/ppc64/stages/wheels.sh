# shellcheck shell=bash
# The pure-Python packages of requirements/pure.txt, by this machine's pip, which takes no wheel for a certain machine,
# and PyYAML, which has no such wheel but does without its compiled part.

"$HOST_PYTHON" -m venv venv
packages=$out/usr/lib/python3.11/site-packages
venv/bin/pip install --quiet --target "$packages" --require-hashes --no-deps --no-compile --only-binary=:all: \
  --platform any --implementation py --abi none --python-version 3.11 --requirement "$repository/requirements/pure.txt"
rm -rf "${packages:?}"/{bin,share}

pinned setuptools run.txt >setuptools.txt
pinned pyyaml run.txt >pyyaml.txt
venv/bin/pip install --quiet --require-hashes --no-deps --requirement setuptools.txt
PYYAML_FORCE_LIBYAML=0 venv/bin/pip wheel --quiet --require-hashes --no-deps --no-build-isolation --no-binary pyyaml \
  --requirement pyyaml.txt
venv/bin/python -m zipfile --extract pyyaml-*.whl "$packages"
