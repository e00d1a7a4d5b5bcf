// Which page: the fragment of the address, so that a reload or a shared link needs nothing of the server.

import { useEffect, useState } from "preact/hooks";

export type Route =
  | { page: "overview" }
  | { page: "blocks"; cursor: string | null }
  | { page: "block"; height: number; cursor: string | null }
  | { page: "transaction"; id: string }
  | { page: "account"; name: string; cursor: string | null }
  | { page: "pending" }
  | { page: "registry" }
  | { page: "validator"; id: string }
  | { page: "chaos" }
  | { page: "search"; text: string }
  | { page: "unknown" };

export function parseRoute(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter((part) => part !== "").map(decode);
  const cursor = new URLSearchParams(search).get("cursor");
  const [head = "", rest = ""] = parts;
  if (parts.length === 0) return { page: "overview" };
  if (parts.length === 1) {
    if (head === "blocks") return { page: "blocks", cursor };
    if (head === "pending" || head === "registry" || head === "chaos") return { page: head };
  }
  if (parts.length === 2) {
    if (head === "blocks" && /^\d{1,16}$/.test(rest)) return { page: "block", height: Number(rest), cursor };
    if (head === "transactions") return { page: "transaction", id: rest };
    if (head === "accounts") return { page: "account", name: rest, cursor };
    if (head === "validators") return { page: "validator", id: rest };
    if (head === "search") return { page: "search", text: rest };
  }
  return { page: "unknown" };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const part = encodeURIComponent;

export const to = {
  overview: "#/",
  blocks: "#/blocks",
  block: (height: number) => `#/blocks/${height}`,
  transaction: (id: string) => `#/transactions/${part(id)}`,
  account: (name: string) => `#/accounts/${part(name)}`,
  pending: "#/pending",
  registry: "#/registry",
  validator: (id: string) => `#/validators/${part(id)}`,
  chaos: "#/chaos",
  search: (text: string) => `#/search/${part(text)}`,
};

/** `#/blocks/7` with a cursor behind it. */
export function withCursor(hash: string, cursor: string | null): string {
  return cursor === null ? hash : `${hash}?cursor=${part(cursor)}`;
}

export function go(hash: string): void {
  location.hash = hash;
}

/** What somebody typed into the search box, as a page; `null` when it can be nothing. */
export function searchRoute(typed: string): string | null {
  const text = typed.trim().replace(/^#(?=\d)/, "");
  if (/^\d{1,3}(,\d{3})+$|^\d{1,16}$/.test(text)) return to.block(Number(text.replaceAll(",", "")));
  if (/^ed25519_[0-9a-fA-F]{64}$/.test(text)) return to.account(text.toLowerCase());
  if (/^@[a-z0-9_-]{1,49}$/i.test(text)) return to.account(text.toLowerCase());
  if (/^val_[\w-]+$/.test(text)) return to.validator(text);
  // 64 digits may be a transaction, a block's hash or a key: the search page asks for each.
  if (/^[0-9a-fA-F]{64}$/.test(text)) return to.search(text.toLowerCase());
  if (/^[a-z0-9_-]{1,49}$/i.test(text)) return to.account(`@${text.toLowerCase()}`);
  return null;
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}
