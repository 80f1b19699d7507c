#!/bin/sh
# Usage: restore_with_stock_tools.sh REPOSITORY BACKUP_ID EMPTY_TARGET
set -eu
repository=$1 backup=$2 target=$3
page=16384
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# path FOLDER NAME[.GENERATION]: the object.
path() {
    case $2 in *.*) echo "$repository/$1/$(printf %.2s "$2")/$2" ;; *) echo "$repository/$1/$(printf %.2s "$2")/$2.0" ;; esac
}

# decode NAME ENCODED DECODED: decompress a content, which must match its name.
decode() {
    zstd -dcq < "$2" > "$3"
    test "$(b3sum --no-names "$3")" = "${1%%.*}"
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
    test "$(b3sum --no-names "$1")" = "$(printf %s "$2" | jq -r '.[1]')"
}

# The manifest matches its own checksum.
manifest=$repository/manifests/$backup.json
head -n 1 "$manifest" | tr -d '\n' > "$work/manifest"
test "$(b3sum --no-names "$work/manifest")" = "$(tail -n 1 "$manifest" | jq -r .blake3)"

# The file list matches its name.
list=$(jq -r .file_list "$work/manifest")
chunk_size=$(jq -r .chunk_size_bytes "$work/manifest")
decode "$list" "$repository/files/$list.jsonl.zst" "$work/files"

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
