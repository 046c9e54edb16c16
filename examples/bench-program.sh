#!/usr/bin/env bash
# A bench program with curl and jq alone: it registers a scan, posts what it measures, hears pause, resume, stop and abort,
# and says when it has done what it was asked. Replace `measure` and `safe`.
#
#   examples/bench-program.sh http://pi.local:8080 cooldown-7
#
# The second word is the id of the scan: the same again goes on where the program or telltale ended.
# Settings by environment: POINTS (how many, else for ever), INTERVAL (seconds between two), START=wait (begin when somebody
# starts it on the page), LEASE (seconds it may be silent), KEY (an access key with the role publish), ROWS (a file that
# keeps every row until the scan is over, so that nothing is lost whoever is switched off).
set -euo pipefail
base=${1:-http://127.0.0.1:8080}/api
scan=${2:-bench-$(date -u +%Y%m%d-%H%M%S)-$$}
points=${POINTS:-} interval=${INTERVAL:-1} lease=${LEASE:-30}
rows=${ROWS:-./$scan.rows}
key=()
[ -z "${KEY:-}" ] || key=(-H "Authorization: Bearer $KEY")

# One row's data. Here: a cold head that approaches 4 K.
measure() {
    awk -v n="$1" 'BEGIN { printf "{\"T\":%.3f,\"heater\":%d}", 4 + 296 * exp(-n / 40), n % 2 }'
}

# Outputs off, valves shut: whatever has to be so when this program no longer looks after it.
safe() {
    echo "$scan: everything is off"
}

# ask PATH [CURL OPTIONS]: one request. Sets `status` (000: nobody answered) and `answer`.
ask() {
    local path=$1 said
    shift
    said=$(curl -s --max-time 40 "${key[@]}" -w '\n%{http_code}' "$base$path" "$@" 2>/dev/null) || true
    status=${said##*$'\n'} answer=${said%$'\n'*}
}

# The same until somebody answers: telltale may be away, or busy.
insist() {
    while ask "$@"; case $status in 000 | 429 | 5*) true ;; *) false ;; esac; do sleep 1; done
}

# A member of the answer; nothing where there is none.
value() { jq -r "$1 // empty" <<<"$answer" 2>/dev/null || true; }

# over MESSAGE: telltale does not take this scan any further.
over() {
    echo "$scan: $1" >&2
    safe
    exit 1
}

# say STATE [MESSAGE]: what this program really does now.
say() {
    insist "/scans/$scan/control" -d "$(jq -nc --arg s "$1" --arg m "${2:-}" '{state: $s, message: $m}')"
    case $status in 2*) ;; *) over "telltale did not take \"$1\": $(value .detail)" ;; esac
}

finish() {
    send_all
    safe
    say "$1"
    rm -f "$rows"
    echo "$scan: $1"
    exit 0
}

# Waits until something is asked of this program: with `wait` the answer comes when there is something, or after a while.
hear() {
    asked=
    while [ -z "$asked" ]; do
        insist "/scans/$scan/control?wait=25"
        case $status in 2*) asked=$(value .pending) ;; *) over "$(value .detail)" ;; esac
    done
}

# What the last answer asked for is done here and then said.
obey() {
    case $1 in
    pause)
        say paused
        hear
        if [ "$asked" = resume ]; then say running; else obey "$asked"; fi
        ;;
    stop) finish completed ;;
    abort) finish aborted ;;
    esac
}

# Posts every row that telltale does not have yet, some 5,000 at most in one go. It is no fault when nobody answers: the rows
# are in the file, and go with the next ones. A row that telltale has already is not counted twice.
send() {
    ask "/scans/$scan/data" --data-binary @<(tail -n +$((have + 1)) "$rows" | head -n 5000)
    case $status in
    2*)
        have=$(jq '.last_index + 1' <<<"$answer")
        asked=$(value .control.pending)
        ;;
    409)
        # It was switched off before the last rows were on its disk: they are sent again.
        [ "$(value .type)" = gap ] || over "$(value .detail)"
        have=$(value .expected)
        ;;
    000 | 429 | 5*) ;;
    *) over "telltale refused a row: $(value .detail)" ;;
    esac
}

send_all() {
    while [ "$have" -lt "$(wc -l <"$rows")" ]; do
        send
        case $status in 000 | 429 | 5*) sleep 1 ;; esac
    done
}

touch "$rows"
insist /scans -d "$(jq -nc --arg id "$scan" --argjson n "${points:-null}" --argjson lease "$lease" --arg start "${START:-now}" '{
    scan_id: $id, name: "Cooldown", executor: "external", points_total: $n, lease_s: $lease, start: $start,
    columns: [{name: "T", unit: "K", role: "measured"}, {name: "heater", unit: "1", dtype: "integer", role: "readback"}]}')"
# 201: a new scan. 200: it is there already and goes on.
case $status in 200 | 201) ;; *) over "$(value .detail)" ;; esac
echo "$scan: $base/scans/$scan"
have=$(jq '(.last_index.main // -1) + 1' <<<"$answer")
next=$(wc -l <"$rows")
# The file may be gone; then telltale knows where to go on.
while [ "$next" -lt "$have" ]; do
    echo >>"$rows"
    next=$((next + 1))
done
if [ "$(value .status)" = queued ]; then
    hear
    case $asked in start) say running ;; *) obey "$asked" ;; esac
fi
[ "$(value .status)" != paused ] || obey pause
trap 'finish aborted' INT TERM

while [ -z "$points" ] || [ "$next" -lt "$points" ]; do
    jq -nc --argjson i "$next" --argjson data "$(measure "$next")" --arg at "$(date -u +%FT%T.%3NZ)" \
        '{sequence_index: $i, data: $data, timestamp: $at}' >>"$rows"
    next=$((next + 1))
    asked=
    send
    [ -z "$asked" ] || obey "$asked"
    sleep "$interval"
done
finish completed
