// Hooks: something asked for over the network, and a clock.

import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../api/http";

export interface Loaded<T> {
  data: T | null;
  error: Error | null;
  loading: boolean;
  reload: () => void;
}

/** Asks when `deps` change or `reload` is called. While it asks again for the same thing (`key` unchanged), the old answer stays. */
export function useLoaded<T>(key: string, load: (signal: AbortSignal) => Promise<T>, deps: unknown[] = []): Loaded<T> {
  const [state, setState] = useState<{ key: string; data: T | null; error: Error | null; loading: boolean }>({
    key,
    data: null,
    error: null,
    loading: true,
  });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    setState((old) => (old.key === key ? { ...old, loading: true } : { key, data: null, error: null, loading: true }));
    load(abort.signal).then(
      (data) => {
        if (!abort.signal.aborted) setState({ key, data, error: null, loading: false });
      },
      (error: unknown) => {
        if (abort.signal.aborted) return;
        const told = error instanceof Error ? error : new Error(String(error));
        // What is gone is gone; what cannot be asked at this moment stays on the page.
        const keep = told instanceof ApiError && (told.status === 0 || told.status >= 500 || told.status === 429);
        setState((old) => ({ key, data: keep && old.key === key ? old.data : null, error: told, loading: false }));
      },
    );
    return () => abort.abort();
  }, [key, turn, ...deps]);
  const fresh = state.key === key ? state : { data: null, error: null, loading: true };
  return { data: fresh.data, error: fresh.error, loading: fresh.loading, reload: () => setTurn((old) => old + 1) };
}

/** One timer for all who want the same time. */
const clocks = new Map<number, { watchers: Set<(now: number) => void>; timer: ReturnType<typeof setInterval> }>();

/** The time in milliseconds, which goes on every `everyMs`. */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    let clock = clocks.get(everyMs);
    if (!clock) {
      const watchers = new Set<(now: number) => void>();
      const tick = () => {
        const at = Date.now();
        for (const watcher of watchers) watcher(at);
      };
      clock = { watchers, timer: setInterval(tick, everyMs) };
      clocks.set(everyMs, clock);
    }
    const { watchers, timer } = clock;
    watchers.add(setNow);
    return () => {
      watchers.delete(setNow);
      if (watchers.size > 0) return;
      clearInterval(timer);
      clocks.delete(everyMs);
    };
  }, [everyMs]);
  return now;
}
