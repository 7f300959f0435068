#!/bin/sh
# Make the environment in the folder $1, or bring it up to date, or, in a fraction of a second, find it whole.
#
# The steps are torch, the pinned packages, this project. Each leaves a stamp in the environment that says what it
# installed, written when it has succeeded: an interrupted `make env` continues with the step it was in, and a changed
# lock file, torch choice or clone repeats only what depends on it.
#
#   PYTHON       the Python that a new .venv is made with (default: python3)
#   TORCH        the requirement for torch (default: the pin in requirements.lock)
#   TORCH_INDEX  the index address that PyTorch's own install page gives for your platform (default: pip's own index)
set -eu

environment=$1
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
stamps=$environment/.dlm
plugin=workflow/snakemake-executor-plugin-submitit
floor=$(sed -n 's/^requires-python = ">=3\.\([0-9]*\)"$/\1/p' pyproject.toml)

say() { printf 'make env: %s\n' "$1"; }

fail() {
  say "$1" >&2
  exit 1
}

pip() { "$environment/bin/python" -m pip --disable-pip-version-check "$@"; }

stamp() { cat "$stamps/$1" 2>/dev/null || true; }

# step NAME KEY COMMAND…: run the command unless the stamp NAME already says KEY
step() {
  name=$1 key=$2
  shift 2
  [ "$(stamp "$name")" != "$key" ] || return 0
  mkdir -p "$stamps"
  rm -f "$stamps/$name"
  [ ! -e "$stamps/unfinished" ] || forget_unfinished
  : >"$stamps/unfinished"
  "$@"
  printf '%s\n' "$key" >"$stamps/$name.part"
  mv "$stamps/$name.part" "$stamps/$name"
  rm "$stamps/unfinished"
}

# forget_unfinished: a package that pip was killed in looks installed but lacks its commands, which pip makes last but for
# a note of the installer's name; without its metadata pip installs it again
forget_unfinished() {
  for package in "$environment"/lib/python3*/site-packages/*.dist-info; do
    [ ! -d "$package" ] || [ -e "$package/INSTALLER" ] || rm -r "$package"
  done
}

# check_python COMMAND REMEDY: a Python that runs and is new enough, or one line that says what was found
check_python() {
  found=$("$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || fail "$1 does not run; $2"
  "$1" -c "import sys; sys.exit(sys.version_info < (3, $floor))" || fail "needs Python 3.$floor or newer, $1 is Python $found; $2"
}

# usable: a .venv with Python and pip, and not one copied here from another place, which its scripts would still name
usable() {
  [ -x "$environment/bin/python" ] || return 1
  place=$(stamp place)
  if [ -n "$place" ]; then [ "$place" = "$root" ]; else pip --version >/dev/null 2>&1; fi
}

# note_python: a PYTHON that is asked for and differs from that of the .venv is not passed over in silence
note_python() {
  [ -n "${PYTHON:-}" ] || return 0
  version='import sys; print("%d.%d.%d" % sys.version_info[:3])'
  asked=$("$PYTHON" -c "$version") || fail "$PYTHON does not run"
  has=$("$environment/bin/python" -c "$version")
  [ "$asked" = "$has" ] || say "keeping .venv, which has Python $has; to have Python $asked, remove .venv first"
}

make_venv() {
  python=${PYTHON:-python3}
  check_python "$python" "name another: PYTHON=python3.$floor make env"
  say "making ${environment#"$root"/} with Python $found"
  "$python" -m venv --clear "$environment" ||
    fail "$python has no working venv module (Debian and Ubuntu: apt-get install python3-venv); or name another: PYTHON=python3.$floor make env"
}

install_torch() {
  say "torch (${TORCH:-$pinned_torch}, from ${TORCH_INDEX:-the default index})"
  # pip takes any build of the right version for good, so a build that is asked for has to be forced
  pip install ${TORCH:+--force-reinstall} ${TORCH_INDEX:+--force-reinstall --index-url "$TORCH_INDEX"} "${TORCH:-$pinned_torch}"
}

install_lock() {
  say "the packages of requirements.lock"
  sed '/^torch==/d' requirements.lock >"$stamps/requirements.txt"
  pip install -r "$stamps/requirements.txt"
}

install_project() {
  say "this project"
  set -- -e .
  [ ! -d "$plugin" ] || set -- "$@" -e "$plugin"
  pip install --quiet --no-deps --no-build-isolation "$@"
}

# one at a time, where the system can say so
mkdir -p .cache
if command -v flock >/dev/null; then
  exec 9>.cache/environment.lock
  flock 9
fi

if [ "$environment" = "$root/.venv" ]; then
  if usable; then note_python; else make_venv; fi
elif [ -z "$(stamp place)" ]; then
  pip --version >/dev/null 2>&1 || fail "the active environment $environment has no Python with pip; add pip to it, or deactivate it"
fi
[ -n "$(stamp place)" ] || check_python "$environment/bin/python" "remove or deactivate that environment, then: PYTHON=python3.$floor make env"
step place "$root" true

pinned_torch=$(sed -n '/^torch==/p' requirements.lock)
torch_choice="$pinned_torch ${TORCH:-} ${TORCH_INDEX:-}"
if [ -z "${TORCH:-}${TORCH_INDEX:-}" ]; then
  case $(stamp torch) in "$pinned_torch "*) torch_choice=$(stamp torch) ;; esac # an earlier choice stands
fi
step torch "$torch_choice" install_torch
step lock "$(git hash-object requirements.lock) $torch_choice" install_lock
projects=pyproject.toml
[ ! -d "$plugin" ] || projects="$projects $plugin/pyproject.toml"
# shellcheck disable=SC2086 # one word a file
step project "$root $(git hash-object $projects)" install_project
say "$environment is ready"
