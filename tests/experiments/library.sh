# For tests that use libjepa from Python; no test by itself. Sourced with the program's path as "$1", it gives
#   jepa, here, library   the program, the folder of the tests, the libjepa.so beside the program
# and ends the test with a word where there is no such library, or one that another program cannot load.
jepa=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
library=$(dirname "$jepa")/libjepa.so
[ -e "$library" ] || { echo "no $library: skipped"; exit 0; }
if nm -D "$library" | grep -q __asan_init; then echo "built with sanitizers: skipped"; exit 0; fi

# python_with MODULES PACKAGES: $python is an interpreter that has the modules ("numpy, msgpack").
python_with() {
    for python in python3 /usr/bin/python3; do
        "$python" -c "import $1" 2>/dev/null && return
    done
    echo "Python has not all of $1 (packages $2): skipped"
    exit 0
}
