// Numbers and times as text. Always the same form, whatever the browser's language: the page is in English, and a number
// that is read out to somebody else must look the same there.

/** What stands where a value is not known. */
export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** `1,234,567`. */
export const count = (value: number | null | undefined): string => (value == null ? UNKNOWN : whole.format(value));

/** Four digits at most: `812`, `3.46 k`, `12.3 M`. */
export function short(value: number | null | undefined): string {
  if (value == null) return UNKNOWN;
  const size = Math.abs(value);
  if (size < 10_000) return whole.format(value);
  for (const [unit, name] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (size >= unit) return `${digits(value / unit)} ${name}`;
  }
  return whole.format(value);
}

/** Three digits: `3.46`, `34.6`, `346`. */
function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0);
}

/** A rate a second: small ones with a digit behind the point. */
export function rate(value: number | null | undefined): string {
  if (value == null) return UNKNOWN;
  return value !== 0 && Math.abs(value) < 10 ? value.toFixed(1) : short(Math.round(value));
}

/** `12.3 MiB`. */
export function bytes(value: number | null | undefined): string {
  if (value == null) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${whole.format(size)} B` : `${digits(size)} ${units[unit] ?? ""}`;
}

/** The two largest units: `4 s`, `2 min 5 s`, `3 h 12 min`, `5 d 1 h`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return UNKNOWN;
  const all = Math.max(0, Math.floor(seconds));
  const d = Math.floor(all / 86_400);
  const h = Math.floor((all % 86_400) / 3600);
  const min = Math.floor((all % 3600) / 60);
  const s = all % 60;
  if (d > 0) return h > 0 ? `${d} d ${h} h` : `${d} d`;
  if (h > 0) return min > 0 ? `${h} h ${min} min` : `${h} h`;
  if (min > 0) return s > 0 && min < 10 ? `${min} min ${s} s` : `${min} min`;
  return `${s} s`;
}

/** How far behind, in seconds: below ten with a digit behind the point. */
export function behind(seconds: number | null | undefined): string {
  if (seconds == null) return UNKNOWN;
  return seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds);
}

/** `0.8 ms`, `12 ms`, `1.2 s`. */
export function millis(value: number | null | undefined): string {
  if (value == null) return UNKNOWN;
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  return value < 60_000 ? `${(value / 1000).toFixed(1)} s` : duration(value / 1000);
}

const two = (value: number, width = 2) => String(value).padStart(width, "0");

/** `14:03:09`, in the browser's zone. */
export function clockTime(ms: number): string {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** `14:03:09.120`. */
export const clockTimeMs = (ms: number): string => `${clockTime(ms)}.${two(((ms % 1000) + 1000) % 1000, 3)}`;

/** `2026-01-02 14:03:09.120 +01:00`. */
export function exact(ms: number): string {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return UNKNOWN;
  const zone = -at.getTimezoneOffset();
  const sign = zone < 0 ? "-" : "+";
  const away = Math.abs(zone);
  const date = `${two(at.getFullYear(), 4)}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${clockTime(ms)}.${two(at.getMilliseconds(), 3)} ${sign}${two(Math.floor(away / 60))}:${two(away % 60)}`;
}

/** `now`, `4 s ago`, `in 3 s`. */
export function relative(ms: number, nowMs: number): string {
  const seconds = (nowMs - ms) / 1000;
  if (seconds < -0.5) return `in ${duration(Math.ceil(-seconds))}`;
  return seconds < 1 ? "now" : `${duration(seconds)} ago`;
}

/** `3 events`, `1 event`. */
export const plural = (many: number, one: string, more = `${one}s`): string => `${count(many)} ${many === 1 ? one : more}`;
