// A made-up network for dev/mock.mjs: validators, blocks and accounts that behave enough like real ones to look at the page without a node.

import { createHash } from "node:crypto";

export const GENESIS_HASH = hash("genesis");
const STAGES = ["ingest", "verify", "lane", "order", "execute", "root", "commit"];
const EVENTS_MAX = 100;
const BLOCKS_MAX = 2_000;

export function hash(text) {
  return createHash("sha256").update(String(text)).digest("hex");
}

const key = (name) => `ed25519_${hash(`key ${name}`)}`;
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const around = (value, share = 0.1) => value * (1 + share * (2 * Math.random() - 1));

export class Network {
  constructor({ validators, rate, sovereignKey }) {
    this.rate = rate;
    this.sequence = 0;
    this.view = 1;
    this.height = 1_200;
    this.appliedTotal = 2_400_000;
    this.epochBlocks = 1_000;
    this.listeners = new Set();
    this.validators = new Map();
    this.nodes = new Map();
    this.events = [];
    this.pending = [];
    this.blocks = [];
    this.eventCount = 0;
    this.accounts = ["@alice", "@bob", "@carol", "@dave"].map((username, place) => ({
      username,
      publicKey: key(username),
      displayName: username.slice(1).replace(/^./, (letter) => letter.toUpperCase()),
      bio: place === 0 ? "Keeps books." : "",
      role: place === 1 ? "staff" : "user",
      nonce: 40 + place,
      index: 2 + place,
      createdHeight: 3,
    }));
    this.sovereign = { username: "@sovereign", publicKey: sovereignKey, displayName: "The sovereign", bio: "", role: "sovereign", nonce: 7, index: 1, createdHeight: 0 };
    for (let place = 0; place < validators; place++) this.addNode(place, "active");
    this.addNode(validators, "pending");
    this.addNode(validators + 1, "denied");
    for (const node of [...this.nodes.values()].filter((node) => node.status === "active")) this.join(node);
    for (let past = 0; past < 60; past++) this.block(Date.now() - (60 - past) * 250);
    this.linkAll();
  }

  /** A registered node; port numbers as a devnet has them. */
  addNode(place, status) {
    const publicKey = key(`node ${place}`);
    const id = `val_${publicKey.slice(8, 16)}`;
    const now = Date.now();
    this.nodes.set(id, {
      id,
      publicKey,
      tailscaleHostname: "127.0.0.1",
      tailscaleIP: "127.0.0.1",
      status,
      registeredAt: now - 600_000 + place * 1_000,
      lastHeartbeat: status === "denied" ? null : now,
      services: [
        { type: "consensus", port: 9000 + 10 * place, publicKey, healthy: status === "active" ? true : null },
        { type: "ledger", port: this.ledgerPort ?? 8080, publicKey, healthy: status === "active" ? true : null },
      ],
    });
    this.event(id, status === "pending" ? "registered" : status === "denied" ? "denied" : "approval");
    return id;
  }

  join(node) {
    this.validators.set(node.id, {
      id: node.id,
      publicKey: node.publicKey,
      online: true,
      healthy: true,
      voting: true,
      reason: "",
      isLeader: false,
      currentHeight: this.height,
      finalizedHeight: this.height + 1,
      peerCount: 0,
      lastSeen: Date.now(),
      appliedTps: 0,
      finalizedTps: 0,
      latency: { finalP50: null, finalP99: null, appliedP50: null, appliedP99: null },
      stages: [],
    });
    this.event(node.id, "online");
  }

  up() {
    return [...this.validators.values()].filter((validator) => validator.online);
  }

  linkAll() {
    this.links = new Map();
    const up = this.up().map((validator) => validator.id).sort();
    for (const [place, source] of up.entries()) {
      for (const target of up.slice(place + 1)) {
        if (this.cut?.has(source) !== this.cut?.has(target)) continue;
        this.links.set(`${source} ${target}`, { source, target, type: "peer", at: Date.now() });
      }
    }
    for (const validator of this.validators.values()) {
      validator.peerCount = [...this.links.values()].filter((link) => link.source === validator.id || link.target === validator.id).length;
      const isWell = validator.online && validator.peerCount >= Math.floor((2 * this.validators.size) / 3);
      if (validator.online && validator.healthy !== isWell) this.event(validator.id, isWell ? "recovered" : "unhealthy");
      validator.healthy = isWell;
      validator.voting = isWell;
      validator.reason = isWell ? "" : validator.online ? `linked to ${validator.peerCount} of ${this.validators.size - 1} others` : "does not answer";
    }
  }

  event(validatorId, event, details, height) {
    this.events.push({ id: `evt_${++this.eventCount}`, timestamp: Date.now(), validatorId, event, ...(details ? { details } : {}), ...(height ? { height } : {}) });
    while (this.events.length > EVENTS_MAX) this.events.shift();
  }

  transaction(height, index, at) {
    const from = pick(this.accounts);
    const to = pick(this.accounts.filter((account) => account !== from));
    const failed = Math.random() < 0.04;
    const type = Math.random() < 0.92 ? "transfer" : pick(["deposit", "withdraw", "user_creation"]);
    return {
      id: hash(`transaction ${height} ${index}`),
      type,
      from: from.publicKey,
      ...(type === "transfer" ? { to: to.publicKey } : {}),
      ...(type === "user_creation" ? {} : { amount: (Math.random() * 5_000).toFixed(2), currencyCode: "USD" }),
      nonce: ++from.nonce,
      timestamp: at - 80,
      signature: `ed25519_sig_${hash(index)}${hash(height)}`,
      status: failed ? "failed" : "confirmed",
      code: failed ? "insufficient_funds" : "applied",
      blockHeight: height,
      index,
      blockTimestamp: at,
      ...(type === "user_creation" ? { metadata: { username: `@user-${index}`, displayName: "Somebody" } } : {}),
    };
  }

  block(at) {
    this.height += 1;
    const txCount = Math.round(around(this.rate / 4, 0.2));
    // Of a block's transactions only the first are made; the mock says of the others how many there are.
    const transactions = Array.from({ length: Math.min(60, txCount) }, (_, index) => this.transaction(this.height, index, at));
    const failed = transactions.filter((one) => one.code !== "applied").length;
    const up = this.up();
    this.blocks.push({
      height: this.height,
      hash: hash(`block ${this.height}`),
      previousHash: hash(`block ${this.height - 1}`),
      timestamp: at,
      producer: (up[this.view % Math.max(1, up.length)] ?? { publicKey: key("nobody") }).publicKey,
      txRoot: hash(`tx ${this.height}`),
      stateRoot: hash(`state ${this.height}`),
      receiptsRoot: hash(`receipts ${this.height}`),
      txCount,
      epoch: Math.floor((this.height - 1) / this.epochBlocks),
      executedHeight: this.height - 2,
      attestedStateRoot: hash(`state ${this.height - 2}`),
      attestedReceiptsRoot: hash(`receipts ${this.height - 2}`),
      validatorSetHash: hash("set"),
      changedAccounts: Math.min(txCount, this.accounts.length),
      batches: Array.from({ length: 12 }, (_, place) => ({ lane: place % Math.max(1, up.length), sequence: this.height * 3 + place, digest: hash(`batch ${this.height} ${place}`) })),
      codes: [
        { code: "applied", count: txCount - failed },
        ...(failed > 0 ? [{ code: "insufficient_funds", count: failed }] : []),
      ],
      transactions,
    });
    while (this.blocks.length > BLOCKS_MAX) this.blocks.shift();
    this.appliedTotal += txCount;
  }

  /** Four times a second: a view with its proposal and votes, and what it did to everybody. */
  step() {
    const up = this.up().filter((validator) => validator.healthy);
    const now = Date.now();
    const quorum = up.length > Math.floor((2 * this.validators.size) / 3);
    const edges = [];
    this.view += 1;
    const leader = quorum ? up[this.view % up.length] : undefined;
    for (const validator of this.validators.values()) validator.isLeader = validator === leader;
    if (leader) {
      this.block(now);
      for (const other of up) {
        if (other === leader) continue;
        edges.push({ source: leader.id, target: other.id, type: "proposal", at: now });
        edges.push({ source: other.id, target: leader.id, type: "vote", at: now + 40 + Math.round(Math.random() * 60) });
      }
    }
    const load = Math.min(1, this.rate / 40_000);
    for (const validator of this.validators.values()) {
      if (!validator.online) {
        Object.assign(validator, { appliedTps: 0, finalizedTps: 0, stages: [], latency: { finalP50: null, finalP99: null, appliedP50: null, appliedP99: null } });
        continue;
      }
      const tps = leader ? around(this.rate, 0.04) : 0;
      const p50 = around(62 + 60 * load);
      Object.assign(validator, {
        lastSeen: now - (now % 1_000),
        currentHeight: validator.healthy ? this.height : validator.currentHeight,
        finalizedHeight: validator.healthy ? this.height + 1 : validator.finalizedHeight,
        appliedTps: tps,
        finalizedTps: around(tps, 0.01),
        latency: leader ? { finalP50: p50, finalP99: around(p50 * 1.9), appliedP50: p50 + 9, appliedP99: around(p50 * 2.2) } : validator.latency,
        stages: STAGES.map((name, place) => {
          const weight = [0.3, 1, 0.08, 0.14, 0.42, 0.3, 0.06][place];
          const busy = leader ? Math.min(0.97, around(0.08 + weight * load, 0.06)) : 0.01;
          const output = place === 0 && load > 0.7 ? 0.4 : 0;
          return { name, busy: Math.min(busy, 1 - output), output, input: Math.max(0, 1 - busy - output), transactionsPerSecond: tps };
        }),
      });
    }
    this.pending = Array.from({ length: Math.round(around(18, 0.4)) }, (_, place) => ({
      id: hash(`pending ${this.height} ${place}`),
      type: place % 7 === 0 ? "deposit" : "transfer",
      from: pick(this.accounts).publicKey,
      ...(place % 7 === 0 ? {} : { to: pick(this.accounts).publicKey }),
      timestamp: now - Math.round(Math.random() * 300),
    }));
    if (leader && this.view % 4 === 0) this.event(leader.id, "block", `blocks ${this.height - 3} to ${this.height}`, this.height);
    if (leader && this.view % 12 === 0) this.event(leader.id, "leader", `view ${this.view}`);
    return edges;
  }

  chain() {
    const leader = this.up().find((validator) => validator.isLeader);
    return {
      height: this.height,
      finalizedHeight: this.height + 1,
      epoch: Math.floor((this.height - 1) / this.epochBlocks),
      view: this.view,
      leader: leader?.id ?? "",
      appliedTotal: this.appliedTotal,
      tps: leader ? around(this.rate, 0.03) : 0,
      blocksPerSecond: leader ? 4 : 0,
    };
  }

  meshCount() {
    const count = { pending: 0, active: 0, offline: 0, denied: 0, total: this.nodes.size };
    for (const node of this.nodes.values()) count[node.status] += 1;
    return count;
  }

  snapshot() {
    return {
      kind: "snapshot",
      sequence: this.sequence,
      validators: [...this.validators.values()],
      edges: [...this.links.values()],
      mesh: { nodes: [...this.nodes.values()], nodeCount: this.meshCount(), lastUpdate: Date.now() },
      pendingTransactions: this.pending,
      pendingCount: this.pending.length * 3,
      events: this.events,
      chain: this.chain(),
      lastUpdate: Date.now(),
    };
  }
}
