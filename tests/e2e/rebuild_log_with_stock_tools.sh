#!/bin/sh
# Usage: rebuild_log_with_stock_tools.sh REPOSITORY STREAM NUMBER TARGET_FILE [KEY_FILE...]
set -eu
repository=$1 stream=$2 number=$3 target=$4
shift 4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The sub-keys of each key, in a folder that the key's id names.
for key_file; do
    key=$(tr -d '[:space:]' < "$key_file")
    case ${#key} in
        64) printf %s "$key" | tr a-f A-F | basenc --base16 -d > "$work/key" ;;
        *) printf %s "$key" | tr '_-' '/+' | base64 -d > "$work/key" ;;
    esac
    key_id=$(b3sum --raw --derive-key 'airflow-restore-replay format 1 key id' "$work/key" | od -An -v -tx1 -N8 | tr -d ' \n')
    mkdir -p "$work/$key_id"
    for purpose in '1 names' '1 records' '2 contents'; do
        b3sum --raw --derive-key "airflow-restore-replay format $purpose" "$work/key" > "$work/$key_id/${purpose#* }"
    done
done

# keyed_hash KEY_ID PURPOSE FILE
keyed_hash() {
    if [ -n "$1" ]; then b3sum --no-names --keyed "$3" < "$work/$1/$2"; else b3sum --no-names "$3"; fi
}

# decrypt KEY_ID FILE: what is stored, without encryption. CTR from block 2 is GCM without its tag; names are keyed, so they prove as much.
# (openssl takes the key as argument: other users of the machine can see it.)
decrypt() {
    if [ -z "$1" ]; then cat "$2"; return; fi
    tail -c +5 "$2" | head -c 24 > "$work/salt"
    key=$(b3sum --no-names --keyed "$work/salt" < "$work/$1/contents")
    tail -c +29 "$2" | head -c -16 | openssl enc -d -aes-256-ctr -K "$key" -iv 00000000000000000000000000000002
}

# The records of the file's pieces, each of which matches its own checksum and its seal.
id=$(head -n 1 "$repository/repository.json" | jq -r .repository_id)
: > "$work/pieces"
for record in "$repository"/logpieces/*.json; do
    head -n 1 "$record" | tr -d '\n' > "$work/record"
    tail -n 1 "$record" > "$work/seal"
    jq -e --arg stream "$stream" --argjson number "$number" \
        '.stream == $stream and .number == $number and .end > .begin' "$work/record" > "$work/mine" || continue
    test "$(b3sum --no-names "$work/record")" = "$(jq -r .blake3 "$work/seal")"
    after=$(jq -r '.after // [] | join(" ")' "$work/seal")
    { cat "$work/record"; printf '\n%s\n%s\n%s\n' "$id" "logpieces/${record##*/}" "$after"; } > "$work/statement"
    test "$(keyed_hash "$(jq -r '.key_id // ""' "$work/seal")" records "$work/statement")" = "$(jq -r .seal "$work/seal")"
    jq -c . "$work/record" >> "$work/pieces"
done

# From the beginning on, the longest piece that begins where the one before ends. Each part matches its name.
at=0
: > "$target"
while piece=$(jq -c -s -e --argjson at "$at" 'map(select(.begin == $at)) | max_by(.end)' "$work/pieces"); do
    key_id=$(printf %s "$piece" | jq -r '.key_id // ""')
    for part in $(printf %s "$piece" | jq -r '.parts[] | "\(.object)/\(.name)"'); do
        decrypt "$key_id" "$repository/logdata/${part%/*}.zst" | zstd -dcq > "$work/part"
        test "$(keyed_hash "$key_id" names "$work/part")" = "${part#*/}"
        cat "$work/part" >> "$target"
    done
    at=$(printf %s "$piece" | jq .end)
    test "$(wc -c < "$target")" -eq "$at"
done

# Nothing is left out without a word.
if jq -e -s --argjson at "$at" 'any(.end > $at)' "$work/pieces" > "$work/more"; then
    echo "Bytes from $at on are missing, and later ones are there." >&2
    exit 1
fi
test "$at" -gt 0
