// The frames of the visualizer's stream, as docs/visualizer.md and sidecar/visualizer/src/frame.rs have them.
// Times are milliseconds since 1970 (UTC), latencies milliseconds, shares lie between 0 and 1.

/** How long transactions take, in milliseconds; `null` where nothing was measured. */
export interface Latency {
  finalP50: number | null;
  finalP99: number | null;
  appliedP50: number | null;
  appliedP99: number | null;
}

/** What one stage of a pipeline does with its time. */
export interface Stage {
  name: string;
  /** Share of time that it worked. */
  busy: number;
  /** Share of time that it waited for input. */
  input: number;
  /** Share of time that it was held back by what comes behind it. */
  output: number;
  transactionsPerSecond: number;
}

/** A validator, as itself and the others tell it. */
export interface Validator {
  id: string;
  publicKey: string;
  online: boolean;
  healthy: boolean;
  voting: boolean;
  reason: string;
  isLeader: boolean;
  currentHeight: number;
  finalizedHeight: number;
  peerCount: number;
  lastSeen: number;
  appliedTps: number;
  finalizedTps: number;
  latency: Latency;
  stages: Stage[];
}

export type EdgeKind = "peer" | "proposal" | "vote";

/** A line between two validators: a link that is up, or a message that passed. */
export interface Edge {
  source: string;
  target: string;
  type: EdgeKind;
  at: number;
}

export interface MeshService {
  type: string;
  port: number;
  publicKey: string;
  healthy: boolean | null;
}

/** A node of the registry. */
export interface MeshNode {
  id: string;
  publicKey: string;
  tailscaleHostname: string;
  tailscaleIP?: string;
  /** `pending`, `active`, `offline` or `denied`. */
  status: string;
  registeredAt: number;
  lastHeartbeat: number | null;
  services: MeshService[];
}

export interface NodeCount {
  pending: number;
  active: number;
  offline: number;
  denied: number;
  total: number;
}

/** A transaction that waits for a block. */
export interface Pending {
  id: string;
  type: string;
  from?: string;
  to?: string;
  timestamp: number;
}

/** Something that happened. */
export interface NetworkEvent {
  id: string;
  timestamp: number;
  validatorId: string;
  event: string;
  details?: string;
  height?: number;
}

/** The chain, as more validators tell it than can lie. */
export interface Chain {
  height: number;
  finalizedHeight: number;
  epoch: number;
  view: number;
  leader: string;
  appliedTotal: number;
  tps: number;
  blocksPerSecond: number;
}

export interface Snapshot {
  kind: "snapshot";
  sequence: number;
  validators: Validator[];
  edges: Edge[];
  mesh: { nodes: MeshNode[]; nodeCount: NodeCount; lastUpdate: number };
  pendingTransactions: Pending[];
  pendingCount: number;
  events: NetworkEvent[];
  chain: Chain;
  lastUpdate: number;
}

export interface Delta {
  kind: "delta";
  sequence: number;
  validators?: (Partial<Validator> & { id: string })[];
  removedValidators?: string[];
  edges?: Edge[];
  removedEdges?: { source: string; target: string }[];
  mesh?: { nodes?: MeshNode[]; removedNodes?: string[]; nodeCount: NodeCount; lastUpdate: number };
  pendingTransactions?: Pending[];
  pendingCount?: number;
  events?: NetworkEvent[];
  chain?: Chain;
  lastUpdate: number;
}

export type Frame = Snapshot | Delta;

/** Reads one message. `null` when it is none of ours; of a frame only what the reducer cannot do without is checked. */
export function parseMessage(text: string): Frame | null {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(message) || message.type !== "network_update" || !isRecord(message.data)) return null;
  const data = message.data;
  if (!Number.isSafeInteger(data.sequence)) return null;
  const lists = ["validators", "edges", "events", "pendingTransactions", "removedValidators", "removedEdges"];
  if (lists.some((name) => data[name] !== undefined && !Array.isArray(data[name]))) return null;
  if (data.kind === "snapshot") return withDefaults(data);
  return data.kind === "delta" ? (data as unknown as Delta) : null;
}

function withDefaults(data: Record<string, unknown>): Snapshot {
  const mesh = isRecord(data.mesh) ? data.mesh : {};
  return {
    kind: "snapshot",
    sequence: data.sequence as number,
    validators: (data.validators ?? []) as Validator[],
    edges: (data.edges ?? []) as Edge[],
    mesh: {
      nodes: (Array.isArray(mesh.nodes) ? mesh.nodes : []) as MeshNode[],
      nodeCount: { ...noNodes, ...(isRecord(mesh.nodeCount) ? mesh.nodeCount : {}) },
      lastUpdate: Number(mesh.lastUpdate ?? 0),
    },
    pendingTransactions: (data.pendingTransactions ?? []) as Pending[],
    pendingCount: Number(data.pendingCount ?? 0),
    events: (data.events ?? []) as NetworkEvent[],
    chain: { ...noChain, ...(isRecord(data.chain) ? data.chain : {}) },
    lastUpdate: Number(data.lastUpdate ?? 0),
  };
}

export const noNodes: NodeCount = { pending: 0, active: 0, offline: 0, denied: 0, total: 0 };

export const noChain: Chain = {
  height: 0,
  finalizedHeight: 0,
  epoch: 0,
  view: 0,
  leader: "",
  appliedTotal: 0,
  tps: 0,
  blocksPerSecond: 0,
};

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
