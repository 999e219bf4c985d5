#!/bin/bash
# Drives curl in HTTP/1 through the base URL; prints one JSON line.
. "$(dirname "$0")/curl_checks.sh"
run() { curl --http1.1 --silent --show-error --fail --max-time 20 "$@" 2>>errors; }

downloaded() {
    run -D head -o got "$base/bytes?n=2000000$1" || return 1
    grep -qi "^x-sha256: $(sha256sum <got | cut -d' ' -f1)" head
}
uploaded() {
    run -o said -H 'Expect:' --data-binary @body "$@" "$base/upload" || return 1
    grep -q "\"sha256\":\"$sum\"" said && grep -q '"length":3000000' said
}
uploaded_chunked() { uploaded -H 'Transfer-Encoding: chunked' && grep -q '"chunked":true' said; }
echoed() {
    run -o got -H 'Expect:' -H 'Transfer-Encoding: chunked' --data-binary @body "$base/echo" && cmp -s body got
}
continued() {
    # Without a 100 curl would wait for as long as the whole request may take.
    curl --http1.1 --verbose --silent --max-time 8 --expect100-timeout 30 -H 'Expect: 100-continue' \
        --data-binary @body -o said "$base/upload" 2>errors || return 1
    grep -q '^< HTTP/1.1 100' errors && grep -q '"continued":true' said && grep -q "\"sha256\":\"$sum\"" said
}
refused() {
    [ "$(curl --http1.1 --silent --max-time 8 --expect100-timeout 30 -H 'Expect: 100-continue' --data-binary @body \
        -o /dev/null -w '%{http_code} %{size_upload}' "$base/refuse" 2>errors)" = '417 0' ]
}
trailers() {
    run -D head -o got -H 'TE: trailers' -H 'Connection: TE' "$base/trailers" || return 1
    grep -qi "^x-sha256: $(sha256sum <got | cut -d' ' -f1)" head
}
many() {
    # 100 requests of one process; each says how many connections it opened.
    run -w '%{num_connects}\n' -o 'got#1' "$base/bytes?n=1000&number=[1-100]" >connects || return 1
    [ "$(awk '{ sum += $1 } END { print sum, NR }' connects)" = '1 100' ] || return 1
    run -D head -o got "$base/bytes?n=1000" || return 1
    grep -qi "^x-sha256: $(sha256sum <got | cut -d' ' -f1)" head || return 1
    local number
    for number in $(seq 100); do cmp "got$number" got 2>>errors || return 1; done
}

check download downloaded ''
check downloadChunked downloaded '&chunked'
check upload uploaded
check uploadChunked uploaded_chunked
check echo echoed
check continue continued
check refuse refused
check trailers trailers
check many many
report curl
