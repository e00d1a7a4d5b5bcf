// Snapshot and deltas to one state. Everything it holds is bounded by what the server bounds, and events by EVENTS_MAX here too.

import {
  noChain,
  noNodes,
  type Chain,
  type Edge,
  type Frame,
  type MeshNode,
  type NetworkEvent,
  type NodeCount,
  type Pending,
  type Snapshot,
  type Validator,
} from "./frame";

/** Events that are kept, and how many of them may be routine before those go first: as the server does it. */
export const EVENTS_MAX = 100;
export const EVENTS_ROUTINE_MAX = 50;
const ROUTINE = new Set(["block", "leader", "follower"]);

/** What the page shows of the network. Changed in place; `Section` names say which part changed. */
export interface NetworkState {
  /** Number of the last frame; -1 before the first. */
  sequence: number;
  validators: Map<string, Validator>;
  /** Links that are up, by `linkKey`. */
  links: Map<string, Edge>;
  nodes: Map<string, MeshNode>;
  nodeCount: NodeCount;
  pending: Pending[];
  pendingCount: number;
  events: NetworkEvent[];
  chain: Chain;
  lastUpdate: number;
}

export type Section = "validators" | "links" | "mesh" | "pending" | "events" | "chain";
export const SECTIONS: readonly Section[] = ["validators", "links", "mesh", "pending", "events", "chain"];

/** How a frame went in. After `gap` the state is stale: connect again. */
export type Outcome = { kind: "applied"; changed: Set<Section>; moments: Edge[] } | { kind: "gap"; expected: number; got: number };

export function emptyState(): NetworkState {
  return {
    sequence: -1,
    validators: new Map(),
    links: new Map(),
    nodes: new Map(),
    nodeCount: { ...noNodes },
    pending: [],
    pendingCount: 0,
    events: [],
    chain: { ...noChain },
    lastUpdate: 0,
  };
}

/** The key of a link, the same whichever end comes first. */
export function linkKey(a: string, b: string): string {
  return a < b ? `${a}\n${b}` : `${b}\n${a}`;
}

/** Brings `state` up to `frame`. A delta that does not follow the frame before changes nothing. */
export function applyFrame(state: NetworkState, frame: Frame): Outcome {
  if (frame.kind === "snapshot") return takeSnapshot(state, frame);
  if (state.sequence < 0 || frame.sequence !== state.sequence + 1) {
    return { kind: "gap", expected: state.sequence + 1, got: frame.sequence };
  }
  const changed = new Set<Section>();
  const moments: Edge[] = [];
  for (const id of frame.removedValidators ?? []) if (state.validators.delete(id)) changed.add("validators");
  for (const patch of frame.validators ?? []) {
    const old = state.validators.get(patch.id);
    // A new object each time, so that who compares by identity sees the change.
    state.validators.set(patch.id, { ...(old ?? unknownValidator(patch.id)), ...patch });
    changed.add("validators");
  }
  for (const ends of frame.removedEdges ?? []) {
    if (state.links.delete(linkKey(ends.source, ends.target))) changed.add("links");
  }
  for (const edge of frame.edges ?? []) {
    if (edge.type === "peer") {
      state.links.set(linkKey(edge.source, edge.target), edge);
      changed.add("links");
    } else {
      moments.push(edge);
    }
  }
  if (frame.mesh) {
    for (const id of frame.mesh.removedNodes ?? []) state.nodes.delete(id);
    for (const node of frame.mesh.nodes ?? []) state.nodes.set(node.id, node);
    state.nodeCount = frame.mesh.nodeCount;
    changed.add("mesh");
  }
  if (frame.pendingTransactions) state.pending = frame.pendingTransactions;
  if (frame.pendingCount !== undefined) state.pendingCount = frame.pendingCount;
  if (frame.pendingTransactions || frame.pendingCount !== undefined) changed.add("pending");
  if (frame.events && frame.events.length > 0) {
    state.events = trimEvents([...state.events, ...frame.events]);
    changed.add("events");
  }
  if (frame.chain) {
    state.chain = frame.chain;
    changed.add("chain");
  }
  state.sequence = frame.sequence;
  state.lastUpdate = frame.lastUpdate;
  return { kind: "applied", changed, moments };
}

function takeSnapshot(state: NetworkState, frame: Snapshot): Outcome {
  state.sequence = frame.sequence;
  state.validators = new Map(frame.validators.map((validator) => [validator.id, { ...unknownValidator(validator.id), ...validator }]));
  state.links = new Map(frame.edges.filter((edge) => edge.type === "peer").map((edge) => [linkKey(edge.source, edge.target), edge]));
  state.nodes = new Map(frame.mesh.nodes.map((node) => [node.id, node]));
  state.nodeCount = frame.mesh.nodeCount;
  state.pending = frame.pendingTransactions;
  state.pendingCount = frame.pendingCount;
  state.events = trimEvents([...frame.events]);
  state.chain = frame.chain;
  state.lastUpdate = frame.lastUpdate;
  return { kind: "applied", changed: new Set(SECTIONS), moments: frame.edges.filter((edge) => edge.type !== "peer") };
}

/** Drops the oldest while there are too many, and of routine ones first where those are many. Changes and returns `events`. */
export function trimEvents(events: NetworkEvent[]): NetworkEvent[] {
  while (events.length > EVENTS_MAX) {
    const routine = events.filter((event) => ROUTINE.has(event.event)).length;
    const oldest = routine > EVENTS_ROUTINE_MAX ? events.findIndex((event) => ROUTINE.has(event.event)) : 0;
    events.splice(oldest, 1);
  }
  return events;
}

/** The values that a field has when nobody told it. */
function unknownValidator(id: string): Validator {
  return {
    id,
    publicKey: "",
    online: false,
    healthy: false,
    voting: false,
    reason: "",
    isLeader: false,
    currentHeight: 0,
    finalizedHeight: 0,
    peerCount: 0,
    lastSeen: 0,
    appliedTps: 0,
    finalizedTps: 0,
    latency: { finalP50: null, finalP99: null, appliedP50: null, appliedP99: null },
    stages: [],
  };
}

/** What a validator is called by, worst first. */
export type Standing = "offline" | "unhealthy" | "leader" | "healthy";

export function standing(validator: Validator): Standing {
  if (!validator.online) return "offline";
  if (!validator.healthy) return "unhealthy";
  return validator.isLeader ? "leader" : "healthy";
}
