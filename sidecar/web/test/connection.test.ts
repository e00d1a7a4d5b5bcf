import { describe, expect, it } from "vitest";
import { backoff, BACKOFF_FIRST_MS, BACKOFF_LAST_MS, Connection, type Link, type Surroundings, type WebSocketLike } from "../src/state/connection";
import { applyFrame, emptyState } from "../src/state/reduce";

class Socket implements WebSocketLike {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  closed = false;
  close() {
    this.closed = true;
  }
  say(data: object) {
    this.onmessage?.({ data: JSON.stringify({ type: "network_update", data }) });
  }
}

/** A world with a clock that is moved by hand. */
function world() {
  const sockets: Socket[] = [];
  const timers = new Set<{ at: number; action: () => void }>();
  let now = 0;
  const around: Surroundings = {
    open: () => {
      const socket = new Socket();
      sockets.push(socket);
      return socket;
    },
    now: () => now,
    after: (ms, action) => {
      const timer = { at: now + ms, action };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    random: () => 1,
  };
  const pass = (ms: number) => {
    now += ms;
    for (const timer of [...timers].filter((timer) => timer.at <= now)) {
      timers.delete(timer);
      timer.action();
    }
  };
  const state = emptyState();
  const links: Link[] = [];
  const connection = new Connection(
    "ws://x",
    { onFrame: (frame) => applyFrame(state, frame).kind === "applied", onLink: (link) => links.push(link) },
    around,
  );
  connection.start();
  const last = () => sockets.at(-1) as Socket;
  return { sockets, pass, state, links, connection, last, timers };
}

describe("the connection", () => {
  it("is live with the first frame", () => {
    const { last, links, state } = world();
    expect(links.map((link) => link.kind)).toEqual(["connecting"]);
    last().say({ kind: "snapshot", sequence: 4 });
    expect(links.at(-1)?.kind).toBe("live");
    expect(state.sequence).toBe(4);
  });

  it("starts over after a gap, and is whole again with the next snapshot", () => {
    const { sockets, last, links, pass, state } = world();
    last().say({ kind: "snapshot", sequence: 4 });
    const first = last();
    first.say({ kind: "delta", sequence: 6, lastUpdate: 0 });
    expect(first.closed).toBe(true);
    expect(links.at(-1)).toMatchObject({ kind: "waiting", reason: "an update was missed", until: BACKOFF_FIRST_MS });
    expect(sockets).toHaveLength(1);
    pass(BACKOFF_FIRST_MS);
    expect(sockets).toHaveLength(2);
    last().say({ kind: "snapshot", sequence: 9 });
    expect(state.sequence).toBe(9);
    expect(links.at(-1)?.kind).toBe("live");
  });

  it("waits longer each time, up to a bound, and from the beginning once it was live", () => {
    const { last, links, pass } = world();
    const waits: number[] = [];
    let now = 0;
    for (let i = 0; i < 6; i++) {
      last().onclose?.();
      const link = links.at(-1);
      if (link?.kind !== "waiting") throw new Error("not waiting");
      waits.push(link.until - now);
      pass(link.until - now);
      now = link.until;
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    last().say({ kind: "snapshot", sequence: 1 });
    last().onclose?.();
    expect(links.at(-1)).toMatchObject({ kind: "waiting", attempt: 1 });
  });

  it("gives up a server that says nothing, and one that says what cannot be read", () => {
    const { last, links, pass } = world();
    const silent = last();
    pass(8_000);
    expect(silent.closed).toBe(true);
    expect(links.at(-1)).toMatchObject({ kind: "waiting", reason: "no answer" });
    pass(500);
    last().onmessage?.({ data: "<html>" });
    expect(links.at(-1)).toMatchObject({ kind: "waiting", reason: "a message that cannot be read" });
  });

  it("can be tried at once, and ends for good when it is stopped", () => {
    const { sockets, last, pass, connection, timers } = world();
    last().onclose?.();
    connection.retryNow();
    expect(sockets).toHaveLength(2);
    connection.retryNow();
    expect(sockets).toHaveLength(2);
    connection.stop();
    pass(60_000);
    expect(sockets).toHaveLength(2);
    expect(timers.size).toBe(0);
  });

  it("has waits between half a second and five, whatever the chance", () => {
    for (const random of [0, 0.5, 1]) {
      for (let failures = 1; failures < 40; failures++) {
        expect(backoff(failures, random)).toBeGreaterThanOrEqual(BACKOFF_FIRST_MS);
        expect(backoff(failures, random)).toBeLessThanOrEqual(BACKOFF_LAST_MS);
      }
    }
  });
});
