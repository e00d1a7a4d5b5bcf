// The ledger API (docs/ledger.md): what the pages read, and one write, a signed transaction. One ledger is as good as another, so the client goes on
// to the next one when its own cannot be reached.

import { store } from "../state/store";
import { ApiError, request } from "./http";
import { ledgerBases } from "./places";

export interface Batch {
  lane: number;
  sequence: number;
  digest: string;
}

export interface Block {
  height: number;
  hash: string;
  previousHash: string;
  timestamp: number;
  producer: string;
  txRoot: string;
  stateRoot: string;
  receiptsRoot: string;
  txCount: number;
  epoch: number;
  executedHeight: number;
  attestedStateRoot: string;
  attestedReceiptsRoot: string;
  validatorSetHash: string;
  changedAccounts: number;
  batches: Batch[];
  codes: { code: string; count: number }[];
}

export interface Transaction {
  id: string;
  type: string;
  from: string;
  to?: string;
  amount?: string;
  minorUnits?: boolean;
  currencyCode?: string;
  nonce: number;
  timestamp: number;
  signature: string;
  status: string;
  code: string;
  blockHeight: number;
  index: number;
  blockTimestamp: number;
  metadata?: Record<string, unknown>;
}

export interface User {
  id: string;
  publicKey: string;
  username: string | null;
  displayName: string;
  bio: string;
  role: string;
  nonce: number;
  index: number;
  createdHeight: number;
  height: number;
}

export interface Balance {
  currencyCode: string;
  amount: string;
}

/** A deposit or withdrawal that waits for the sovereign. */
export interface Request {
  id: string;
  type: string;
  from: string;
  amount: string;
  currencyCode: string;
  blockHeight: number;
}

export interface ValidatorSet {
  epoch: number;
  firstHeight: number;
  lastHeight: number;
  currentEpoch: number;
  validators: { id: string; publicKey: string; address: string; lane: number }[];
}

export interface About {
  chain: string;
  genesisHash: string;
  head: { height: number; oldestHeight: number } | null;
}

/** What is known of a transaction that was sent and taken. */
export interface Submitted {
  id: string;
  /** `applied`; or what was known when the time was over: `final`, `accepted`, `sent`, `unknown`. */
  status: string;
  code: string | null;
  blockHeight: number | null;
  message: string;
}

export interface Page<T> {
  entries: T[];
  next: string | null;
}

/** How long a ledger follows a transaction before it answers with what it knows. */
const FOLLOW_MS = 10_000;

/** The base that answered last; the others are tried when it does not. */
let current: string | null = null;

function bases(): string[] {
  const known = [...store.state.nodes.values()]
    .filter((node) => node.status === "active")
    .flatMap((node) =>
      node.services
        .filter((service) => service.type === "ledger" && service.healthy !== false)
        .map((service) => ({ host: node.tailscaleIP || node.tailscaleHostname, port: service.port })),
    );
  const all = ledgerBases(location, known);
  return current && all.includes(current) ? [current, ...all.filter((base) => base !== current)] : all;
}

async function ask<T>(path: string, init?: RequestInit): Promise<T> {
  let last: unknown = new ApiError(0, "unreachable", "no ledger is known");
  for (const base of bases()) {
    try {
      const answer = await request<T>(base + path, init);
      current = base;
      return answer;
    } catch (error) {
      // Only silence moves on; an answer, even a refusal, is the answer.
      if (!(error instanceof ApiError) || error.code !== "unreachable") throw error;
      last = new ApiError(0, "unreachable", `the ledger at ${base} is ${error.message}`);
    }
  }
  throw last;
}

const part = encodeURIComponent;

function query(values: Record<string, string | number | null | undefined>): string {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  return given.length === 0 ? "" : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

export const ledger = {
  about: (signal?: AbortSignal) => ask<About>("/", init(signal)),

  async blocks(limit: number, cursor: string | null, signal?: AbortSignal): Promise<Page<Block>> {
    const page = await ask<{ blocks: Block[]; nextCursor: string | null }>(`/blocks${query({ limit, cursor })}`, init(signal));
    return { entries: page.blocks, next: page.nextCursor };
  },

  block: (height: number, signal?: AbortSignal) => ask<Block>(`/blocks/${height}${query({ transactions: 0 })}`, init(signal)),

  blockByHash: (hash: string, signal?: AbortSignal) => ask<Block>(`/blocks/hash/${part(hash)}${query({ transactions: 0 })}`, init(signal)),

  blockTransactions: (height: number, limit: number, cursor: string | null, signal?: AbortSignal) =>
    transactions(`/blocks/${height}/transactions${query({ limit, cursor })}`, signal),

  transaction: (id: string, signal?: AbortSignal) => ask<Transaction>(`/transactions/${part(id)}`, init(signal)),

  user: (name: string, signal?: AbortSignal) =>
    ask<User>(name.startsWith("@") ? `/users/username/${part(name)}` : `/users/${part(name)}`, init(signal)),

  async balances(name: string, signal?: AbortSignal): Promise<Balance[]> {
    return (await ask<{ balances: Balance[] }>(`/users/${part(name)}/balances`, init(signal))).balances;
  },

  userTransactions: (name: string, limit: number, cursor: string | null, signal?: AbortSignal) =>
    transactions(`/users/${part(name)}/transactions${query({ limit, cursor })}`, signal),

  async requests(limit: number, cursor: string | null, signal?: AbortSignal): Promise<Page<Request>> {
    const page = await ask<{ transactions: Request[]; nextCursor: string | null }>(`/pending${query({ limit, cursor })}`, init(signal));
    return { entries: page.transactions, next: page.nextCursor };
  },

  validators: (signal?: AbortSignal) => ask<ValidatorSet>("/validators", init(signal)),

  /** The set once every change that is decided already is in force: that of the last epoch that can be asked for. */
  decidedValidators: (signal?: AbortSignal) => ask<ValidatorSet>(`/validators${query({ epoch: Number.MAX_SAFE_INTEGER })}`, init(signal)),

  /** Sends a signed transaction to one ledger, never to a second one too, and waits until it is known what became of it. */
  async submit(bytes: Uint8Array<ArrayBuffer>): Promise<Submitted> {
    const base = bases()[0];
    if (!base) throw new ApiError(0, "unreachable", "no ledger is known");
    const body: RequestInit = { method: "POST", headers: { "content-type": "application/octet-stream" }, body: bytes };
    return request<Submitted>(`${base}/transactions${query({ wait: "applied", timeout: FOLLOW_MS })}`, body, 2 * FOLLOW_MS);
  },
};

function init(signal: AbortSignal | undefined): RequestInit {
  return signal ? { signal } : {};
}

async function transactions(path: string, signal?: AbortSignal): Promise<Page<Transaction>> {
  const page = await ask<{ transactions: Transaction[]; nextCursor: string | null }>(path, init(signal));
  return { entries: page.transactions, next: page.nextCursor };
}
