// Numbers and times for people. What is unknown is "unknown", and never zero.

const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["m", 60],
];

/** Return seconds as text, for example `3h 12m`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "unknown";
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds < 10) return `${Number(seconds.toFixed(1))}s`;
  if (seconds < 60) return `${Math.round(seconds)}s`;
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  const [unit, size] = UNITS[first];
  const whole = Math.floor(seconds / size);
  const [next, nextSize] = UNITS[first + 1] ?? ["s", 1];
  const rest = Math.floor((seconds - whole * size) / nextSize);
  return rest && whole < 10 ? `${whole}${unit} ${rest}${next}` : `${whole}${unit}`;
}

/** Return an amount of bytes as text, in powers of ten. */
export function bytes(count) {
  if (count === null || count === undefined) return "unknown";
  let value = count;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (Math.abs(value) < 1000 || unit === "TB") return `${unit === "B" ? value : value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return "";
}

/** Return a large number with separators. */
export function amount(value) {
  return value === null || value === undefined ? "unknown" : Number(value).toLocaleString("en-US");
}

/** Return a time in UTC, for example `2026-11-30 16:40`. */
export function time(iso, { seconds = false } = {}) {
  if (!iso) return "unknown";
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "unknown";
  return at
    .toISOString()
    .slice(0, seconds ? 19 : 16)
    .replace("T", " ");
}

/** Return seconds from one time to another. */
export function between(from, to) {
  return from && to ? (new Date(to) - new Date(from)) / 1000 : null;
}
