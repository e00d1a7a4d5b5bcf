// A value that components share and watch, for what is neither of the network nor of one component.

import { useEffect, useState } from "preact/hooks";
import type { Signer } from "../crypto/keyfile";
import { ALL } from "../state/history";

export class Value<T> {
  private readonly watchers = new Set<() => void>();

  constructor(private held: T) {}

  get(): T {
    return this.held;
  }

  set(next: T): void {
    if (Object.is(next, this.held)) return;
    this.held = next;
    for (const watcher of this.watchers) watcher();
  }

  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }
}

export function useValue<T>(value: Value<T>): T {
  // Inside an object, because a bare function would be called by the setter.
  const [box, setBox] = useState({ held: value.get() });
  useEffect(() => {
    const read = () => setBox({ held: value.get() });
    read();
    return value.watch(read);
  }, [value]);
  return box.held;
}

/** The validator that graph, pipeline and charts show; `ALL` for the whole network. */
export const selected = new Value<string>(ALL);
/** Who signs, once a key file was opened. Nowhere but in memory. */
export const signer = new Value<Signer | null>(null);
/** The token of a devnet that lets itself be harmed, once it is known to be good. */
export const chaosToken = new Value<string | null>(null);
export const helpOpen = new Value<boolean>(false);
