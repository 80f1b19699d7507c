#!/bin/sh
# Usage: restore_with_stock_tools.sh REPOSITORY BACKUP_ID EMPTY_TARGET [KEY_FILE]
set -eu
repository=$1 backup=$2 target=$3 key_file=${4:-}
page=16384
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# derive_keys: what an encrypted repository needs beside the recipe: the sub-keys of the manifest's key.
derive_keys() {
    key=$(tr -d '[:space:]' < "$key_file")
    case ${#key} in
        64) printf %s "$key" | tr a-f A-F | basenc --base16 -d > "$work/key" ;;
        *) printf %s "$key" | tr '_-' '/+' | base64 -d > "$work/key" ;;
    esac
    for purpose in '1 names' '1 data' '1 records' '2 contents'; do
        b3sum --raw --derive-key "airflow-restore-replay format $purpose" "$work/key" > "$work/key.${purpose#* }"
    done
}

# keyed_hash PURPOSE FILE
keyed_hash() {
    if [ -n "$key_file" ]; then b3sum --no-names --keyed "$2" < "$work/key.$1"; else b3sum --no-names "$2"; fi
}

# decrypt FILE: what is stored, without encryption. CTR from block 2 is GCM without its tag; names are keyed, so they prove as much.
# (openssl takes the key as argument: other users of the machine can see it.)
decrypt() {
    if [ -z "$key_file" ]; then cat "$1"; return; fi
    if [ "$(head -c 4 "$1" | tr -d '\0')" = RRE2 ]; then
        tail -c +5 "$1" | head -c 24 > "$work/salt"
        key=$(b3sum --no-names --keyed "$work/salt" < "$work/key.contents")
        skip=29 nonce=000000000000000000000000
    else
        key=$(od -An -v -tx1 "$work/key.data" | tr -d ' \n')
        skip=13 nonce=$(head -c 12 "$1" | od -An -v -tx1 | tr -d ' \n')
    fi
    tail -c +$skip "$1" | head -c -16 | openssl enc -d -aes-256-ctr -K "$key" -iv "${nonce}00000002"
}

# path FOLDER NAME[.GENERATION]: the object.
path() {
    case $2 in *.*) echo "$repository/$1/$(printf %.2s "$2")/$2" ;; *) echo "$repository/$1/$(printf %.2s "$2")/$2.0" ;; esac
}

# decode NAME ENCODED DECODED: decrypt and decompress a content, which must match its name.
decode() {
    decrypt "$2" | zstd -dcq > "$3"
    test "$(keyed_hash names "$3")" = "${1%%.*}"
}

# content FILE REFERENCE: a chunk's object, or a piece of a bundle, decoded into FILE.
content() {
    case $2 in
    '"'*)
        name=$(printf %s "$2" | jq -r .)
        decode "$name" "$(path chunks "$name")" "$1"
        ;;
    *)
        set -- "$1" $(printf %s "$2" | jq -r '.[1:] | join(" ")')
        dd if="$(path bundles "$3")" of="$work/piece" iflag=skip_bytes,count_bytes skip="$4" count="$5" status=none
        decode "$2" "$work/piece" "$1"
        ;;
    esac
}

# delta FILE REFERENCE: a base with some pages replaced, decoded into FILE.
delta() {
    content "$1" "$(printf %s "$2" | jq -c '.[2]')"
    content "$work/pages" "$(printf %s "$2" | jq -c '.[3]')"
    from=0
    for run in $(printf %s "$2" | jq -r '.[4][] | join(":")'); do
        dd if="$work/pages" of="$1" bs=$page skip=$from seek="${run%:*}" count="${run#*:}" conv=notrunc status=none
        from=$((from + ${run#*:}))
    done
    test "$(keyed_hash names "$1")" = "$(printf %s "$2" | jq -r '.[1]')"
}

# The manifest matches its own checksum and its seal, which in an encrypted repository is keyed. (In format 1: mac, if there is a key.)
manifest=$repository/manifests/$backup.json
head -n 1 "$manifest" | tr -d '\n' > "$work/manifest"
tail -n 1 "$manifest" > "$work/seal"
test "$(b3sum --no-names "$work/manifest")" = "$(jq -r .blake3 "$work/seal")"
if [ -n "$key_file" ]; then derive_keys; fi
if [ "$(jq 'has("seal")' "$work/seal")" = true ]; then
    id=$(head -n 1 "$repository/repository.json" | jq -r .repository_id)
    after=$(jq -r '.after // [] | join(" ")' "$work/seal")
    { cat "$work/manifest"; printf '\n%s\n%s\n%s\n' "$id" "manifests/$backup.json" "$after"; } > "$work/statement"
    test "$(keyed_hash records "$work/statement")" = "$(jq -r .seal "$work/seal")"
elif [ -n "$key_file" ]; then
    test "$(keyed_hash records "$work/manifest")" = "$(jq -r .mac "$work/seal")"
fi

# The file list matches its name.
list=$(jq -r .file_list "$work/manifest")
chunk_size=$(jq -r .chunk_size_bytes "$work/manifest")
decode "$list" "$repository/files/$list.jsonl.zst" "$work/files"

# No path leaves the target: none is empty, absolute, or has a component that is empty, "." or "..", or a line end or NUL.
jq -e -n '[inputs | .path | . != "" and (explode | all(. != 0 and . != 10)) and (split("/") | all(. != "" and . != "." and . != ".."))] | all' \
    "$work/files" > "$work/paths" || { echo "A path leaves the target; nothing was written." >&2; exit 1; }

# Directories, and files in their full size; what is not written below is zero.
mkdir -p "$target"
jq -r 'select(.directory) | .path' "$work/files" | while read -r path; do
    mkdir -p "$target/$path"
done
jq -r 'select(.directory | not) | "\(.size_bytes // 0) \(.path)"' "$work/files" | while read -r size path; do
    truncate -s "$size" "$target/$path"
done

# References, of large files from their chunk lists, in one line each: index, reference, path.
jq -c 'select(.directory | not)' "$work/files" | while read -r entry; do
    list=$(printf %s "$entry" | jq -r '.list // empty')
    if [ "$list" ]; then
        decode "$list" "$(path lists "$list")" "$work/list"
    else
        printf %s "$entry" | jq -c '.chunks // []' > "$work/list"
    fi
    printf %s "$entry" | jq -r --slurpfile list "$work/list" \
        '.path as $path | $list[0] | to_entries[] | select(.value) | "\(.key)\t\(.value | tojson)\t\($path)"'
done > "$work/chunks"

# Chunks, each of which matches its name.
tab=$(printf '\t')
while IFS=$tab read -r index ref path; do
    case $ref in
    '["delta"'*) delta "$work/chunk" "$ref" ;;
    *) content "$work/chunk" "$ref" ;;
    esac
    dd if="$work/chunk" of="$target/$path" bs="$chunk_size" seek="$index" conv=notrunc status=none
done < "$work/chunks"

jq -r '"\(.mode // 432) \(.path)"' "$work/files" | while read -r mode path; do
    chmod "$(printf %o "$mode")" "$target/$path"
done
