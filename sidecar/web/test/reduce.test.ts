import { describe, expect, it } from "vitest";
import { parseMessage, type Delta, type NetworkEvent, type Snapshot, type Validator } from "../src/state/frame";
import { applyFrame, emptyState, EVENTS_MAX, EVENTS_ROUTINE_MAX, linkKey, standing, trimEvents } from "../src/state/reduce";

const message = (data: object) => JSON.stringify({ type: "network_update", data });

function snapshot(more: object = {}): Snapshot {
  const data = {
    kind: "snapshot",
    sequence: 17,
    validators: [{ id: "val_a", publicKey: "ed25519_aa", online: true, healthy: true, voting: true, reason: "", isLeader: true, currentHeight: 9, stages: [] }],
    edges: [{ source: "val_a", target: "val_b", type: "peer", at: 1 }],
    mesh: { nodes: [{ id: "val_a", status: "active", services: [] }], nodeCount: { pending: 0, active: 1, offline: 0, denied: 0, total: 1 }, lastUpdate: 2 },
    pendingTransactions: [{ id: "x", type: "transfer", timestamp: 1 }],
    pendingCount: 4,
    events: [],
    chain: { height: 9, finalizedHeight: 10, epoch: 1, view: 5, leader: "val_a", appliedTotal: 7, tps: 1.5, blocksPerSecond: 2 },
    lastUpdate: 3,
    ...more,
  };
  const frame = parseMessage(message(data));
  if (frame?.kind !== "snapshot") throw new Error("no snapshot");
  return frame;
}

function delta(more: object): Delta {
  const frame = parseMessage(message({ kind: "delta", sequence: 18, lastUpdate: 4, ...more }));
  if (frame?.kind !== "delta") throw new Error("no delta");
  return frame;
}

function loaded() {
  const state = emptyState();
  applyFrame(state, snapshot());
  return state;
}

describe("messages", () => {
  it("are taken in the envelope only", () => {
    expect(parseMessage(JSON.stringify({ kind: "snapshot", sequence: 1 }))).toBeNull();
    expect(parseMessage(JSON.stringify({ type: "other", data: { kind: "snapshot", sequence: 1 } }))).toBeNull();
    expect(parseMessage("{")).toBeNull();
    expect(parseMessage(message({ kind: "snapshot" }))).toBeNull();
    expect(parseMessage(message({ kind: "delta", sequence: 1, validators: {} }))).toBeNull();
    expect(parseMessage(message({ kind: "something new", sequence: 1 }))).toBeNull();
  });

  it("may leave out of a snapshot what there is none of", () => {
    const frame = parseMessage(message({ kind: "snapshot", sequence: 0 }));
    expect(frame).toMatchObject({ kind: "snapshot", validators: [], pendingCount: 0, mesh: { nodes: [], nodeCount: { total: 0 } }, chain: { height: 0 } });
  });
});

describe("frames", () => {
  it("of a snapshot take the place of everything", () => {
    const state = loaded();
    expect(state.validators.get("val_a")?.currentHeight).toBe(9);
    expect(state.links.has(linkKey("val_b", "val_a"))).toBe(true);
    expect(state.pendingCount).toBe(4);
    applyFrame(state, snapshot({ sequence: 90, validators: [], edges: [], events: [], pendingTransactions: [], pendingCount: 0 }));
    expect(state.sequence).toBe(90);
    expect(state.validators.size + state.links.size + state.pending.length).toBe(0);
  });

  it("of a delta change what they name and nothing else", () => {
    const state = loaded();
    const before = state.validators.get("val_a");
    const outcome = applyFrame(state, delta({ validators: [{ id: "val_a", isLeader: false, currentHeight: 10 }], pendingCount: 5 }));
    expect(outcome).toMatchObject({ kind: "applied", changed: new Set(["validators", "pending"]) });
    expect(state.validators.get("val_a")).toEqual({ ...before, isLeader: false, currentHeight: 10 });
    expect(state.validators.get("val_a")).not.toBe(before);
    expect(state.pending).toHaveLength(1);
    expect(state.pendingCount).toBe(5);
    expect(state.chain.height).toBe(9);
  });

  it("insert and remove validators, links and nodes", () => {
    const state = loaded();
    applyFrame(
      state,
      delta({
        validators: [{ id: "val_c", online: true }],
        removedValidators: ["val_a"],
        edges: [{ source: "val_b", target: "val_c", type: "peer", at: 2 }],
        removedEdges: [{ source: "val_a", target: "val_b" }],
        mesh: { nodes: [{ id: "val_c", status: "pending", services: [] }], removedNodes: ["val_a"], nodeCount: { pending: 1, active: 0, offline: 0, denied: 0, total: 1 }, lastUpdate: 1 },
      }),
    );
    expect([...state.validators.keys()]).toEqual(["val_c"]);
    expect([...state.links.keys()]).toEqual([linkKey("val_b", "val_c")]);
    expect([...state.nodes.keys()]).toEqual(["val_c"]);
    expect(state.nodeCount.pending).toBe(1);
  });

  it("hand on proposals and votes and keep none", () => {
    const state = loaded();
    const vote = { source: "val_b", target: "val_a", type: "vote", at: 5 };
    const outcome = applyFrame(state, delta({ edges: [vote] }));
    expect(outcome).toEqual({ kind: "applied", changed: new Set(), moments: [vote] });
    expect(state.links.size).toBe(1);
  });

  it("that do not follow the one before change nothing", () => {
    for (const sequence of [17, 19, 16, 0]) {
      const state = loaded();
      expect(applyFrame(state, delta({ sequence, pendingCount: 99 }))).toEqual({ kind: "gap", expected: 18, got: sequence });
      expect(state.pendingCount).toBe(4);
    }
    expect(applyFrame(emptyState(), delta({ sequence: 0 })).kind).toBe("gap");
  });

  it("may be a snapshot at any time, whose number counts on", () => {
    const state = loaded();
    applyFrame(state, snapshot({ sequence: 40 }));
    expect(applyFrame(state, delta({ sequence: 41 })).kind).toBe("applied");
  });
});

describe("events", () => {
  const event = (id: number, kind: string): NetworkEvent => ({ id: `evt_${id}`, timestamp: id, validatorId: "v", event: kind });

  it("are bounded, and routine ones go first", () => {
    const events = [event(0, "evidence"), ...Array.from({ length: EVENTS_MAX }, (_, i) => event(i + 1, "block"))];
    expect(trimEvents(events)).toHaveLength(EVENTS_MAX);
    expect(events[0]?.event).toBe("evidence");
    expect(events[1]?.id).toBe("evt_2");
  });

  it("of other kinds push out the oldest once few are routine", () => {
    const events = [...Array.from({ length: EVENTS_ROUTINE_MAX }, (_, i) => event(i, "block")), ...Array.from({ length: EVENTS_ROUTINE_MAX + 1 }, (_, i) => event(100 + i, "offline"))];
    trimEvents(events);
    expect(events[0]?.id).toBe("evt_1");
    expect(events).toHaveLength(EVENTS_MAX);
  });
});

describe("standing", () => {
  const validator = (fields: Partial<Validator>) => ({ online: true, healthy: true, isLeader: false, ...fields }) as Validator;

  it("names the worst", () => {
    expect(standing(validator({}))).toBe("healthy");
    expect(standing(validator({ isLeader: true }))).toBe("leader");
    expect(standing(validator({ isLeader: true, healthy: false }))).toBe("unhealthy");
    expect(standing(validator({ online: false }))).toBe("offline");
  });
});
