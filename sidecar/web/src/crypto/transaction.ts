// Transactions as docs/protocol.md lays them out (sections 7 and 8). The page makes one kind, a change of the validator set; a transfer is here
// too, because the worked example of that document is one, and the tests hold this file against it.

import { blake3 } from "@noble/hashes/blake3.js";
import { keyBytes, toHex } from "../util/hex";
import type { Signer } from "./keyfile";

const VERSION = 1;
const HEADER_BYTES = 56;
const SIGNATURE_BYTES = 64;
const ADDRESS_BYTES_MAX = 128;
const SIGNING_TAG = "tana-tx-v1";
const SIGNING_TAG_BYTES = 16;

export const KIND_TRANSFER = 2;
export const KIND_VALIDATOR_SET_CHANGE = 11;

/** What goes between a transaction's header and its signature. */
export interface Payload {
  kind: number;
  bytes: Uint8Array;
}

/** A transaction that can be sent. */
export interface SignedTransaction {
  bytes: Uint8Array<ArrayBuffer>;
  /** BLAKE3 of the bytes, 64 digits. */
  id: string;
}

/** Adds a validator from epoch `epoch` on, or removes it. `address` is where its links listen, `host:port`; empty in a removal. */
export function validatorSetChange(add: boolean, validator: string, epoch: number, address: string): Payload {
  const text = new TextEncoder().encode(address);
  if (add === (text.length === 0)) throw new Error("an address host:port when a validator is added, none when it is removed");
  if (text.length > ADDRESS_BYTES_MAX) throw new Error(`an address has at most ${ADDRESS_BYTES_MAX} bytes`);
  return { kind: KIND_VALIDATOR_SET_CHANGE, bytes: concat([Uint8Array.of(add ? 1 : 0), keyBytes(validator), u64(epoch), Uint8Array.of(text.length), text]) };
}

/** Moves `minorUnits` of a currency to another account. */
export function transfer(recipient: string, currency: string, minorUnits: bigint): Payload {
  if (!/^[A-Z]{3,10}$/.test(currency)) throw new Error("a currency is 3 to 10 capital letters");
  const code = new Uint8Array(12);
  code.set(new TextEncoder().encode(currency));
  const low = minorUnits & 0xffff_ffff_ffff_ffffn;
  return { kind: KIND_TRANSFER, bytes: concat([keyBytes(recipient), code, u64(low), u64(minorUnits >> 64n)]) };
}

/** Signs a payload for the chain with this genesis hash (64 digits). `nonce` is the account's last used one plus one. */
export async function signTransaction(
  signer: Signer,
  genesisHash: string,
  nonce: number,
  timestamp: number,
  payload: Payload,
): Promise<SignedTransaction> {
  const genesis = keyBytes(genesisHash);
  const head = new Uint8Array(HEADER_BYTES);
  const view = new DataView(head.buffer);
  head[0] = VERSION;
  head[1] = payload.kind;
  view.setUint16(2, payload.bytes.length, true);
  head.set(genesis.subarray(0, 4), 4);
  head.set(u64(nonce), 8);
  head.set(u64(timestamp), 16);
  head.set(signer.publicKey, 24);
  const tag = new Uint8Array(SIGNING_TAG_BYTES);
  tag.set(new TextEncoder().encode(SIGNING_TAG));
  const signature = await signer.sign(concat([tag, genesis, head, payload.bytes]));
  if (signature.length !== SIGNATURE_BYTES) throw new Error("the signature has another length than 64 bytes");
  const bytes = concat([head, payload.bytes, signature]);
  return { bytes, id: toHex(blake3(bytes)) };
}

function u64(value: number | bigint): Uint8Array {
  const whole = typeof value === "bigint" ? value : Number.isSafeInteger(value) ? BigInt(value) : -1n;
  if (whole < 0n || whole > 0xffff_ffff_ffff_ffffn) throw new Error("a number of 64 bits");
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, whole, true);
  return bytes;
}

function concat(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
