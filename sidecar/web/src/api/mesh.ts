// The registry, on the page's own origin (docs/mesh.md).

import type { DecisionRequest, Decision } from "../crypto/text";
import { postJson, request } from "./http";

/** What the sovereign's client puts into the validator-set transaction that follows an approval. */
export interface ValidatorLink {
  publicKey: string;
  address: string | null;
  /** With every change of the set that is decided already. */
  chain?: "in_set" | "not_in_set";
}

export interface DecisionAnswer {
  success: boolean;
  nodeId: string;
  status: string;
  validator?: ValidatorLink;
}

export interface ServiceRow {
  service_type: string;
  port: number;
  public_key: string;
  healthy: boolean | null;
  last_check: number | null;
}

export interface NodeRow {
  id: string;
  public_key: string;
  tailscale_hostname: string;
  tailscale_ip: string | null;
  status: string;
  registered_at: number;
  approved_at: number | null;
  approved_by: string | null;
  last_heartbeat: number | null;
  chain?: "in_set" | "not_in_set";
  services: ServiceRow[];
}

/** A node, and what a validator-set transaction would say of it. */
export interface NodeAnswer {
  node: NodeRow;
  validator?: ValidatorLink;
}

export const mesh = {
  node: (id: string, signal?: AbortSignal) => request<NodeAnswer>(`/nodes/${encodeURIComponent(id)}`, signal ? { signal } : {}),

  decide: (decision: Decision, id: string, body: DecisionRequest) =>
    postJson<DecisionAnswer>(`/${decision}/${encodeURIComponent(id)}`, body),
};
