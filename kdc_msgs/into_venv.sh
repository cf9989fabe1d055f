#!/usr/bin/env bash
# Builds kdc_msgs from its .msg files and installs it into a virtual environment.
# usage: kdc_msgs/into_venv.sh VENV BUILD_DIR
# Works with the ROS 2 wheels inside the environment, or with a sourced ROS 2 (ROS_DISTRO is set).
set -euo pipefail

venv=$(cd "$1" && pwd)
mkdir -p "$2"
build=$(cd "$2" && pwd)
source=$(cd "$(dirname "$0")" && pwd)
python=$venv/bin/python
log=$build/log.txt

site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ -z "${ROS_DISTRO:-}" ]; then
  # The wheels' CMake files name the Python of the machine that made them.
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  numpy=$("$python" -c 'import numpy; print(numpy.get_include())')
  { grep -rlE --include='*.cmake' /opt/python/cp "$venv/share" || true; } | xargs -r sed -i -E \
    -e "s#/opt/python/cp[0-9t]+-cp[0-9t]+/include/python[0-9.t]+#$include#g" \
    -e "s#/opt/python/cp[^;\"]*/numpy/_core/include#$numpy#g"
fi

export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
export AMENT_PREFIX_PATH=$venv${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}
export CMAKE_PREFIX_PATH=$venv${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}
rm -rf "$build/cmake"
if ! { cmake -S "$source" -B "$build/cmake" -G 'Unix Makefiles' \
        -DCMAKE_INSTALL_PREFIX="$venv" -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
        -DPython3_FIND_VIRTUALENV=ONLY -DPYTHON_INSTALL_DIR="${site#"$venv"/}" \
      && cmake --build "$build/cmake" --target install --parallel "$(nproc)"; } >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  echo "kdc_msgs did not build; the whole log is $log" >&2
  exit 1
fi
