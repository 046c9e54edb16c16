#!/usr/bin/env bash
# A walk through the lab with curl and jq alone: a scan is described, checked, queued three times and watched; the first is
# paused and resumed, the second aborted, the third runs to its end; its rows are exported and played back.
#
#   telltale --config examples/lab.toml &
#   examples/lab-walk.sh http://127.0.0.1:8080
#
# SUPPLY and METER are the channels it sets and measures, CSV the file it writes, KEY an access key where one is needed.
set -euo pipefail
base=${1:-http://127.0.0.1:8080}/api
supply=${SUPPLY:-psu.voltage} meter=${METER:-dmm.voltage} csv=${CSV:-}
queue=walk-$(date -u +%H%M%S)-$$
key=()
[ -z "${KEY:-}" ] || key=(-H "Authorization: Bearer $KEY")

# get PATH, post PATH [BODY]: the answer; an error of telltale's ends the walk with its sentence.
get() { call "$1"; }
post() { call "$1" -d "${2:-}"; }
call() {
    local path=$1 said status
    shift
    said=$(curl -sS --max-time 30 "${key[@]}" -w '\n%{http_code}' "$base$path" "$@")
    status=${said##*$'\n'} said=${said%$'\n'*}
    case $status in
    2*) printf '%s\n' "$said" ;;
    *)
        echo "$path: $status: $said" >&2
        return 1
        ;;
    esac
}

# until PATH FILTER: waits until jq's FILTER is true of what PATH answers; at most a minute.
until_true() {
    local n
    for n in $(seq 300); do
        if get "$1" | jq -e "$2" >/dev/null; then return; fi
        sleep 0.2
    done
    echo "waited a minute for $2 of $1 ($n looks)" >&2
    return 1
}

# ask TARGET ACTION [BODY]: a command, and its end: accepted is not done.
ask() {
    local id
    id=$(post "/$1/$2" "${3:-}" | jq -r .command_id)
    echo "   $2 of $1 is asked for"
    until_true "/commands/$id" '.state != "accepted"'
    get "/commands/$id" | jq -r '"   \(.action): \(.state) after \(.latency_ms) ms, it is \(.status // "?")"'
}

description=$(jq -nc --arg set "$supply" --arg read "$meter" '{
    name: "Voltage sweep",
    axes: [{set: $set, start: 0, stop: 5, points: 26, settle_s: 0.1}],
    measure: [$read]
}')

echo "1. What would it do?"
until_true /instruments "[.items[] | select(.instrument_id == \"${supply%%.*}\" or .instrument_id == \"${meter%%.*}\") | .status] | length == 2 and all(. != \"disconnected\")"
# Right after the start the instruments may not have offered themselves yet.
for _ in $(seq 50); do
    plan=$(post /scans/validate "$description")
    [ "$(jq .valid <<<"$plan")" = false ] || break
    sleep 0.2
done
jq -r 'if .valid then "   \(.points_total) points, about \(.planned_s) s", (.steps[] | "   \(.)") else (.violations[] | "   \(.field): \(.detail)") end' <<<"$plan"
jq -e .valid <<<"$plan" >/dev/null

echo "2. Queued three times"
post /queues "$(jq -nc --arg id "$queue" '{queue_id: $id, name: "A walk"}')" >/dev/null
mapfile -t scans < <(post "/queues/$queue/scans" "$(jq -c '[., ., .]' <<<"$description")" | jq -r '.items[].scan_id')
echo "   ${scans[*]}"

echo "3. Watched"
topics="queue/$queue"
for scan in "${scans[@]}"; do topics+=",scan/$scan"; done
curl -sSN "${key[@]}" "$base/events?format=ndjson&types=scan_status,command_result&interval=1s&state=false&topics=$topics" |
    jq --unbuffered -r 'select(.type == "scan_status").payload | "   \(.scan_id) \(.status) \(if .pending then "(" + .pending + " asked for) " else "" end)\(.message // "")"' &
watcher=$!
trap 'kill $watcher 2>/dev/null || true' EXIT
ask "queues/$queue" start
until_true "/scans/${scans[0]}" '.points_done >= 5'

echo "4. Paused and resumed"
ask "scans/${scans[0]}" pause
held=$(get "/scans/${scans[0]}" | jq .points_done)
sleep 1
[ "$(get "/scans/${scans[0]}" | jq .points_done)" = "$held" ]
echo "   it stands at point $held"
if [ "$(get "/queues/$queue" | jq -r .status)" = paused ]; then
    ask "queues/$queue" resume
else
    ask "scans/${scans[0]}" resume
fi
until_true "/scans/${scans[0]}" '.status == "completed"'

echo "5. The second is aborted, and the queue goes on"
until_true "/scans/${scans[1]}" '.points_done >= 3'
ask "scans/${scans[1]}" abort '{"then":"continue","reason":"the walk wants to see it"}'
get "/scans/${scans[1]}" | jq -r '"   \(.status) with \(.points_done) of \(.points_total) points: progress stays \(.progress)"'

echo "6. The third runs"
until_true "/scans/${scans[2]}" '.status == "completed"'
until_true "/queues/$queue" '.status == "completed"'
get "/queues/$queue/scans" | jq -r '.items[] | "   \(.scan_id) \(.status) \(.progress) \(.exit_reason)"'

echo "7. Exported"
table=$(get "/scans/${scans[2]}/data.csv")
head -n 4 <<<"$table" | sed 's/^/   /'
[ -z "$csv" ] || printf '%s\n' "$table" >"$csv"
echo "   $(($(wc -l <<<"$table") - 1)) rows"

echo "8. Played back, ten times as fast"
curl -sSN --max-time 60 "${key[@]}" "$base/scans/${scans[2]}/playback?rate=10&format=ndjson" |
    jq -r 'select(.type | startswith("data_")).payload | "   \(.sequence_index // .first_index) \(.data | tojson)"' | tail -n 3
echo "Done."
