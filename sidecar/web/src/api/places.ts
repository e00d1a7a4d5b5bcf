// Where things are. The page's own origin is the registry; the stream is one port up; ledgers are found through the registry.
// `?ws=` and `?ledger=` name others.

/** The WebSocket of the visualizer. `?ws=` takes a URL, `host:port` or a port. */
export function streamUrl(location: { protocol: string; hostname: string; port: string; search: string }): string {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const given = new URLSearchParams(location.search).get("ws")?.trim();
  if (given) {
    if (/^wss?:\/\//.test(given)) return given;
    if (/^\d+$/.test(given)) return `${scheme}://${location.hostname}:${given}/`;
    return `${scheme}://${given}`;
  }
  const port = location.port === "" ? 8191 : Number(location.port) + 1;
  return `${scheme}://${location.hostname}:${port}/`;
}

const LEDGER_PORT = 8080;
/** Ledgers that are tried before it is said that none answers. */
const LEDGERS_MAX = 8;

/** A ledger as the registry knows it: a host name, an address or a URL, and a port. */
export interface LedgerPlace {
  host: string;
  port: number;
}

/** Bases of the ledger API to be tried in this order: the one that `?ledger=` names, or those that the registry knows, this host's first. */
export function ledgerBases(location: { protocol: string; hostname: string; search: string }, known: LedgerPlace[]): string[] {
  const on = (port: number, host = location.hostname) => `${location.protocol}//${host}:${port}`;
  const given = new URLSearchParams(location.search).get("ledger")?.trim().replace(/\/+$/, "");
  if (given) {
    if (/^https?:\/\//.test(given)) return [given];
    return [/^\d+$/.test(given) ? on(Number(given)) : `${location.protocol}//${given}`];
  }
  const near: number[] = [];
  const far: string[] = [];
  for (const { host, port } of known) {
    const name = bareHost(host);
    // Loopback is this host: the registry's own, which is where the page comes from.
    if (name === location.hostname || /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(name)) near.push(port);
    else if (/^([\w.-]+|\[[\da-f:]+\])$/i.test(name)) far.push(on(port, name));
  }
  const bases = [...near.sort((a, b) => a - b).map((port) => on(port)), ...far.sort()];
  return bases.length > 0 ? [...new Set(bases)].slice(0, LEDGERS_MAX) : [on(LEDGER_PORT)];
}

/** The host of a host name, an address or a URL, an IPv6 address in brackets. */
function bareHost(text: string): string {
  const authority = text.replace(/^\w+:\/\//, "").replace(/\/.*$/, "");
  if (authority.startsWith("[")) return authority.replace(/:\d+$/, "");
  return authority.split(":").length > 2 ? `[${authority}]` : authority.replace(/:\d+$/, "");
}
