# The head of the tests of the whole program: no test by itself. A test of this folder has
#   set -u
#   source "$(dirname "$0")/program.sh"
# (after what may skip it, as a folder is made here), and from then on
#   jepa, here   the program, which is the test's first argument, and this folder: absolute paths
#   work         a new folder, the test goes on in it; removed at the end
#   failed       0, or 1 once something failed: a test ends with `finish` or `exit $failed`
jepa=$(realpath "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d) && cd "$work" || exit 1
remove_work() {
    chmod -R u+rwX "$work" 2>/dev/null # a test may have locked a folder
    rm -rf "$work"
}
trap remove_work EXIT

failed=0
fail() { echo "FAILED: $*"; failed=1; }
finish() { # [words to end with]
    [ $failed -ne 0 ] || echo "${1:-all as it should be}"
    exit $failed
}

# run ARGUMENTS...: the program does this; what it says lies in out.txt and err.txt.
run() { "$jepa" "$@" >out.txt 2>err.txt || { fail "jepa $*"; cat err.txt; }; }

# expect PATTERN: the last `run` printed it.
expect() { grep -q -- "$1" out.txt || { fail "no \"$1\""; cat out.txt; }; }

# refused CODE PATTERN COMMAND...: the program ends with this exit code and exactly one line of error, which
# is of this command and has the pattern in it, and leaves nothing half-written. Before a call may stand
#   says=WHO     how the line begins, where that is not "jepa COMMAND"
#   begun=PATH   where, from this beginning of a path on, others leave half-written files: they were killed, or
#                are at work
refused() {
    local code=$1 message=$2 got
    shift 2
    "$jepa" "$@" >out.txt 2>err.txt
    got=$?
    [ $got -eq "$code" ] || fail "exit code $got, expected $code: jepa $*"
    [ "$(grep -c '^jepa' err.txt)" -eq 1 ] || { fail "not one line of error: jepa $*"; cat err.txt; }
    grep "^${says:-jepa $1}: " err.txt | grep -q -- "$message" || { fail "no \"$message\": jepa $*"; cat err.txt; }
    find . -name '*.partial*' ! -path "./${begun:-/}*" | grep -q . && fail "something half-written: jepa $*"
    after_refusal "$*"
}
after_refusal() { :; } # ARGUMENTS: a test may define it anew, for what it asks of each refusal beyond this
