// What the page knows, and who is told when it changes. Frames change the state at once; components hear of it on an animation frame, at most
// every PANEL_MS, however many frames came: text that changes faster cannot be read. The graph asks for moments itself, on every frame.

import { useEffect, useReducer } from "preact/hooks";
import { Connection, type Link } from "./connection";
import type { Edge } from "./frame";
import { ALL, History, SAMPLE_MS, type Sample } from "./history";
import { applyFrame, emptyState, type NetworkState, type Section } from "./reduce";

const PANEL_MS = 100;
/** Proposals and votes that wait to be drawn; a page that draws none (hidden) keeps only the newest. */
const MOMENTS_MAX = 500;

export type Topic = Section | "link" | "history";

class Store {
  readonly state: NetworkState = emptyState();
  readonly history = new History();
  link: Link = { kind: "connecting", attempt: 1 };
  private moments: Edge[] = [];
  private readonly listeners = new Map<Topic, Set<() => void>>();
  private readonly dirty = new Set<Topic>();
  private scheduled = false;
  private flushed = 0;
  private connection: Connection | null = null;

  /** Connects to the visualizer and samples the charts' numbers, until the page is left. */
  start(url: string): void {
    this.connection = new Connection(url, {
      onFrame: (frame) => {
        const outcome = applyFrame(this.state, frame);
        if (outcome.kind === "gap") return false;
        for (const section of outcome.changed) this.touch(section);
        if (outcome.moments.length > 0) this.moments = [...this.moments, ...outcome.moments].slice(-MOMENTS_MAX);
        return true;
      },
      onLink: (link) => {
        this.link = link;
        this.touch("link");
      },
    });
    this.connection.start();
    setInterval(() => this.sample(Date.now()), SAMPLE_MS);
    addEventListener("online", () => this.connection?.retryNow());
  }

  get url(): string {
    return this.connection?.url ?? "";
  }

  retryNow(): void {
    this.connection?.retryNow();
  }

  /** The proposals and votes since the last call. */
  takeMoments(): Edge[] {
    const taken = this.moments;
    this.moments = [];
    return taken;
  }

  subscribe(topic: Topic, listener: () => void): () => void {
    const set = this.listeners.get(topic) ?? new Set();
    this.listeners.set(topic, set);
    set.add(listener);
    return () => set.delete(listener);
  }

  private touch(topic: Topic): void {
    this.dirty.add(topic);
    if (this.scheduled) return;
    this.scheduled = true;
    const flush = (now: number) => {
      if (now - this.flushed < PANEL_MS) {
        requestAnimationFrame(flush);
        return;
      }
      this.flushed = now;
      this.scheduled = false;
      // One listener on several topics hears of it once.
      const told = new Set([...this.dirty].flatMap((dirty) => [...(this.listeners.get(dirty) ?? [])]));
      this.dirty.clear();
      for (const listener of told) listener();
    };
    requestAnimationFrame(flush);
  }

  private sample(now: number): void {
    if (this.link.kind !== "live") {
      // A gap in the lines says more than a flat one.
      if (this.history.times.length > 0) this.history.push(now, new Map());
    } else {
      this.history.push(now, samples(this.state));
    }
    this.touch("history");
  }
}

/** The charts' numbers of each validator, and of all: its rate as the chain tells it, its latencies as the slowest validator has them. */
export function samples(state: NetworkState): Map<string, Sample> {
  const rows = new Map<string, Sample>();
  let final = 0;
  const worst: Sample = { applied: state.chain.tps, final: null, finalP50: null, finalP99: null, appliedP99: null };
  for (const validator of state.validators.values()) {
    if (!validator.online) continue;
    const { finalP50, finalP99, appliedP99 } = validator.latency;
    rows.set(validator.id, { applied: validator.appliedTps, final: validator.finalizedTps, finalP50, finalP99, appliedP99 });
    final = Math.max(final, validator.finalizedTps);
    worst.finalP50 = larger(worst.finalP50, finalP50);
    worst.finalP99 = larger(worst.finalP99, finalP99);
    worst.appliedP99 = larger(worst.appliedP99, appliedP99);
  }
  worst.final = final;
  rows.set(ALL, worst);
  return rows;
}

function larger(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.max(a, b);
}

export const store = new Store();

/** Draws the component again when one of these changed. */
export function useTopics(...topics: Topic[]): NetworkState {
  const [, again] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const listener = () => again(undefined);
    const stops = topics.map((topic) => store.subscribe(topic, listener));
    // Something may have come between drawing and subscribing.
    listener();
    return () => stops.forEach((stop) => stop());
  }, [topics.join()]);
  return store.state;
}

