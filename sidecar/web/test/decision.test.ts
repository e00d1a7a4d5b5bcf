// What a sovereign's decision may do to the validator set, and how it goes on where it was cut short.

import { describe, expect, it } from "vitest";
import { ApiError } from "../src/api/http";
import { decideNode, membershipOf, type MeshForDecision } from "../src/api/membership";
import type { DecisionAnswer, NodeAnswer, ValidatorLink } from "../src/api/mesh";
import { readKeyFile } from "../src/crypto/keyfile";

const PUBLIC = "ed25519_8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
const signer = () =>
  readKeyFile(JSON.stringify({ username: "@one", publicKey: PUBLIC, privateKey: `ed25519_${"01".repeat(32)}`, role: "sovereign" }));
const link: ValidatorLink = { publicKey: "own", address: "10.0.0.1:9000" };
const others: ValidatorLink = { ...link, publicKey: "somebody's" };

describe("what may follow for the validator set", () => {
  const node = { public_key: "own", approved_at: 7 };
  it("is about the node's own key, and about another one only when a person has compared it", () => {
    expect(membershipOf("approve", node, link)).toEqual({ link, isUnproven: false });
    for (const kind of ["approve", "deny", "join", "leave"]) expect(membershipOf(kind, node, others)).toEqual({ link: others, isUnproven: true });
  });
  it("is nothing without a validator, and for the denial of a node that was never approved", () => {
    expect(membershipOf("approve", node, undefined).link).toBeNull();
    const waits = { ...node, approved_at: null };
    expect(membershipOf("deny", waits, others).link).toBeNull();
    expect(membershipOf("deny", waits, link).link).toBeNull();
    expect(membershipOf("approve", waits, link).link).toBe(link);
  });
});

describe("a decision", () => {
  const notPending = new ApiError(404, "not_pending", "it is decided already");
  function registryThat(answer: ValidatorLink | undefined | Error, status = "active"): MeshForDecision {
    return {
      decide: async (_, nodeId) => {
        if (answer instanceof Error) throw answer;
        return { success: true, nodeId, status, validator: answer } as DecisionAnswer;
      },
      node: async () => ({ node: { status }, validator: { ...link, chain: "in_set" } }) as unknown as NodeAnswer,
    };
  }
  it("tells whether the set is so already", async () => {
    expect(await decideNode(await signer(), "approve", "a", link, registryThat({ ...link, chain: "in_set" }))).toBe(true);
    expect(await decideNode(await signer(), "approve", "a", link, registryThat({ ...link, chain: "not_in_set" }))).toBe(false);
    expect(await decideNode(await signer(), "deny", "a", link, registryThat(undefined, "denied"))).toBe(false);
  });
  it("that the registry has already is as good as a new one, and no other refusal is", async () => {
    expect(await decideNode(await signer(), "approve", "a", link, registryThat(notPending, "offline"))).toBe(true);
    expect(await decideNode(await signer(), "deny", "a", link, registryThat(notPending, "denied"))).toBe(false);
    await expect(decideNode(await signer(), "deny", "a", link, registryThat(notPending, "active"))).rejects.toThrow("already");
    const refused = new ApiError(403, "not_sovereign", "you are a stranger");
    await expect(decideNode(await signer(), "approve", "a", link, registryThat(refused))).rejects.toThrow("stranger");
  });
  it("does not lead to a validator that was not shown", async () => {
    await expect(decideNode(await signer(), "approve", "a", link, registryThat(others))).rejects.toThrow("another validator");
    await expect(decideNode(await signer(), "approve", "a", link, registryThat({ ...link, address: "10.9.9.9:1" }))).rejects.toThrow("another validator");
    await expect(decideNode(await signer(), "approve", "a", undefined, registryThat(link))).rejects.toThrow("another validator");
  });
});
