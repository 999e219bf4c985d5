#!/bin/bash
# Drives curl in HTTP/2 through the base URL; prints one JSON line.
. "$(dirname "$0")/curl_checks.sh"
case $base in https:*) version=--http2 ;; *) version=--http2-prior-knowledge ;; esac
head -c 20000 body >piece
run() { curl "$version" --silent --show-error --fail --max-time 20 "$@" 2>>errors; }

downloaded() {
    [ "$(run -D head -o got -w '%{http_version}' "$base/bytes?n=2000000")" = 2 ] || return 1
    grep -qi "^x-sha256: $(sha256sum <got | cut -d' ' -f1)" head
}
uploaded() {
    run -o said "$@" "$base/upload" || return 1
    grep -q "\"sha256\":\"$sum\"" said && grep -q '"length":3000000' said
}
# Of standard input curl does not know the length.
streamed() { uploaded -X POST -T - <body; }
echoed() { run -o got --data-binary @body "$base/echo" && cmp -s body got; }
trailers() {
    run -D head -o got -H 'TE: trailers' "$base/trailers" || return 1
    grep -qi "^x-sha256: $(sha256sum <got | cut -d' ' -f1)" head
}
all_at_once() {
    # 100 requests; each says how many connections it opened.
    run --parallel --parallel-max 100 -w '%{num_connects}\n' -o 'got#1' "$base/bytes?n=1000&number=[1-100]" >connects || return 1
    [ "$(awk '{ sum += $1 } END { print sum, NR }' connects)" = '1 100' ]
}
each_by_itself() {
    local number
    for number in $(seq 100); do run -o "got$number" "$base/bytes?n=1000" & done
    wait
}
concurrent() {
    # curl 7.88 has no second request on a connection by prior knowledge.
    if [ "$version" = --http2 ]; then all_at_once || return 1; else each_by_itself; fi
    run -D head -o got "$base/bytes?n=1000" || return 1
    grep -qi "^x-sha256: $(sha256sum <got | cut -d' ' -f1)" head || return 1
    local number
    for number in $(seq 100); do cmp "got$number" got 2>>errors || return 1; done
}
rolling() {
    # Uploads as long as the file is there, a hundred on each connection.
    local expected
    expected="\"sha256\":\"$(sha256sum <piece | cut -d' ' -f1)\""
    while [ -e "$LASTCALL_ROLLING" ]; do
        run --data-binary @piece -o 'said#1' "$base/upload?wait=2&number=[1-100]" || return 1
        [ "$(grep -l "$expected" said* | wc -l)" = 100 ] || return 1
    done
}

if [ -n "${LASTCALL_ROLLING:-}" ]; then
    check rolling rolling
else
    check download downloaded
    check upload uploaded --data-binary @body
    check uploadStreamed streamed
    check echo echoed
    check trailers trailers
    check concurrent concurrent
fi
report curl-http2
