// Signed texts: Ed25519 over the SHA-256 of a UTF-8 text, printed `ed25519_sig_` and 128 digits, as sidecar/http/src/signature.rs checks them.

import { sha256 } from "@noble/hashes/sha2.js";
import { toHex } from "../util/hex";
import type { Signer } from "./keyfile";

export async function signText(signer: Signer, text: string): Promise<string> {
  const hash = Uint8Array.from(sha256(new TextEncoder().encode(text)));
  return `ed25519_sig_${toHex(await signer.sign(hash))}`;
}

/** What the sovereign decides about a node. */
export type Decision = "approve" | "deny";

/** The text of a decision. */
export function decisionText(decision: Decision, nodeId: string, timestamp: number, nonce: string): string {
  return `${decision}:${nodeId}:${timestamp}:${nonce}`;
}

/** A nonce that was never used before: 32 hexadecimal digits. */
export function freshNonce(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(16)));
}

/** The body of `POST /approve/:id` and `/deny/:id`. */
export interface DecisionRequest {
  approverPublicKey: string;
  timestamp: number;
  nonce: string;
  signature: string;
}

export async function decide(
  signer: Signer,
  decision: Decision,
  nodeId: string,
  timestamp = Date.now(),
  nonce = freshNonce(),
): Promise<DecisionRequest> {
  const signature = await signText(signer, decisionText(decision, nodeId, timestamp, nonce));
  return { approverPublicKey: signer.printed, timestamp, nonce, signature };
}
