// Numbers, amounts and times as people read them. Amounts are decimal strings all the way: no floating point touches them.

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A whole number with separators: 12,345. */
export function count(value: number): string {
  return Number.isFinite(value) ? grouped.format(Math.round(value)) : "–";
}

/** A rate or size in three digits: 7.4, 982, 12.3k, 1.20M. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 999_500) return `${trim(value / 1_000_000)}M`;
  if (size >= 9_995) return `${trim(value / 1_000)}k`;
  if (size >= 99.95 || Number.isInteger(value)) return count(value);
  return value.toFixed(1);
}

function trim(value: number): string {
  return value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

/** A decimal string with separators in its whole part: "1234567.50" is "1,234,567.50". Anything else stays as it is. */
export function amount(text: string): string {
  const match = /^(-?)(\d+)(\.\d+)?$/.exec(text);
  if (!match) return text;
  const [, sign, whole, fraction] = match;
  return `${sign}${(whole ?? "").replace(/\B(?=(\d{3})+$)/g, ",")}${fraction ?? ""}`;
}

/** Milliseconds: 0.4 ms, 61 ms, 2.31 s. `null` is a dash. */
export function latency(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(2)} s`;
  return ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
}

/** A share of 1: 12 %. */
export function percent(share: number): string {
  return `${Math.round(Math.min(1, Math.max(0, share)) * 100)} %`;
}

/** How long ago: now, 12 s, 3 min, 5 h, 2 d; 0 and less is never. */
export function ago(thenMs: number | null | undefined, nowMs: number): string {
  if (!thenMs || thenMs <= 0) return "never";
  const seconds = Math.floor((nowMs - thenMs) / 1_000);
  if (seconds < 2) return "now";
  if (seconds < 100) return `${seconds} s ago`;
  if (seconds < 100 * 60) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3_600) return `${Math.floor(seconds / 3_600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** The local time of day with seconds: 14:03:59. */
export function clock(ms: number): string {
  const date = new Date(ms);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
}

/** Local date and time with milliseconds: 2026-11-28 14:03:59.042. */
export function dateTime(ms: number | null | undefined): string {
  if (!ms || !Number.isFinite(ms)) return "never";
  const date = new Date(ms);
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${clock(ms)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

/** A long name with its middle left out: `ed25519_3f2a90c1…77b0`. */
export function middle(text: string, head = 14, tail = 4): string {
  return text.length <= head + tail + 1 ? text : `${text.slice(0, head)}…${text.slice(-tail)}`;
}

/** A name from the protocol as words: `validator_set_change` is "validator set change". */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** A node's host, and its address where that is another text. */
export function hostOf(node: { tailscaleHostname: string; tailscaleIP?: string }): string {
  const { tailscaleHostname: name, tailscaleIP: address } = node;
  return address && address !== name ? `${name} (${address})` : name;
}

/** "1 block", "2 blocks". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
