// What the page signs, against the bytes that the Rust side keeps in its fixtures and docs/protocol.md shows.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ApiError } from "../src/api/http";
import type { About, Submitted, User, ValidatorSet } from "../src/api/ledger";
import { changeSet, type LedgerForChange } from "../src/api/membership";
import { readKeyFile } from "../src/crypto/keyfile";
import { decide, decisionText, freshNonce, signText } from "../src/crypto/text";
import { signTransaction, transfer, validatorSetChange } from "../src/crypto/transaction";
import { fromHex, toHex } from "../src/util/hex";

const repository = new URL("../../../", import.meta.url);
const fixtures = new Map(
  readFileSync(new URL("stages/types/tests/fixtures/layouts.txt", repository), "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" ") as [string, string]),
);
/** The secret key of 32 bytes `01`, as in the worked example. */
const PUBLIC = "ed25519_8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
const file = JSON.stringify({ username: "@one", publicKey: PUBLIC, privateKey: `ed25519_${"01".repeat(32)}`, role: "sovereign" });
const signers = [
  ["WebCrypto", () => readKeyFile(file, crypto.subtle)],
  ["noble", () => readKeyFile(file, null)],
] as const;

describe.each(signers)("signed by %s", (by, open) => {
  it("a key file is who it says", async () => {
    const signer = await open();
    expect(signer).toMatchObject({ by, printed: PUBLIC, username: "@one" });
  });

  it("a transfer has the bytes and the identifier of the fixtures", async () => {
    const made = await signTransaction(await open(), "07".repeat(32), 1, 1_700_000_000_000, transfer("02".repeat(32), "USD", 1_250n));
    expect(toHex(made.bytes)).toBe(fixtures.get("transfer"));
    expect(made.id).toBe(fixtures.get("transfer_id"));
  });

  it("a text has the signature that another implementation makes", async () => {
    // By Python's cryptography package (OpenSSL) over SHA-256 of the same text.
    const text = "approve:val_8a88e3dd:1700000000000:0123456789abcdef0123456789abcdef";
    expect(decisionText("approve", "val_8a88e3dd", 1_700_000_000_000, "0123456789abcdef0123456789abcdef")).toBe(text);
    const expected =
      "ed25519_sig_c0135ce05cf0f5f03534e8e8eceae7cf7dcf00dc0cc967e2c22a5886d1a3da82bc3be2720696791ec33d3ffdc672c86061f0800a94b07f994d435ea8e8e1380e";
    expect(await signText(await open(), text)).toBe(expected);
    expect(await decide(await open(), "approve", "val_8a88e3dd", 1_700_000_000_000, "0123456789abcdef0123456789abcdef")).toEqual({
      approverPublicKey: PUBLIC,
      timestamp: 1_700_000_000_000,
      nonce: "0123456789abcdef0123456789abcdef",
      signature: expected,
    });
  });

  it("a key file whose halves do not fit is refused", async () => {
    const mixed = JSON.stringify({ publicKey: PUBLIC, privateKey: `ed25519_${"02".repeat(32)}` });
    await expect(readKeyFile(mixed, by === "WebCrypto" ? crypto.subtle : null)).rejects.toThrow("do not belong together");
  });
});

describe("key files", () => {
  it("that are none are refused with a reason", async () => {
    await expect(readKeyFile("ed25519_")).rejects.toThrow("not JSON");
    await expect(readKeyFile("null")).rejects.toThrow("no publicKey and privateKey");
    await expect(readKeyFile(JSON.stringify({ publicKey: PUBLIC, privateKey: "12" }))).rejects.toThrow("64 hexadecimal digits");
    await expect(readKeyFile(`"${" ".repeat(70_000)}"`)).rejects.toThrow("too large");
  });
});

describe("payloads", () => {
  it("of a validator-set change are those that the Rust side decodes", () => {
    // The first bytes of the seed are the kind and the payload, as the fuzz target for payloads takes them.
    const seed = readFileSync(new URL("fuzz/seeds/transaction/validator_payload", repository));
    const payload = validatorSetChange(true, toHex(seed.subarray(2, 34)), Number(seed.readBigUInt64LE(34)), "127.0.0.1:9000");
    expect(toHex(Uint8Array.of(payload.kind, ...payload.bytes))).toBe(toHex(seed));
  });

  it("lie as docs/protocol.md says", () => {
    const payload = validatorSetChange(false, "09".repeat(32), 258, "");
    expect(toHex(payload.bytes)).toBe(`00${"09".repeat(32)}020100000000000000`);
    expect(toHex(transfer("02".repeat(32), "USD", (1n << 64n) + 5n).bytes.slice(44))).toBe(`05${"00".repeat(7)}01${"00".repeat(7)}`);
  });

  it("that cannot be are refused before anything is signed", () => {
    expect(() => validatorSetChange(true, "09".repeat(32), 2, "")).toThrow("address");
    expect(() => validatorSetChange(false, "09".repeat(32), 2, "a:1")).toThrow("address");
    expect(() => validatorSetChange(true, "09".repeat(32), 2, `${"a".repeat(128)}:1`)).toThrow("128");
    expect(() => validatorSetChange(true, "09".repeat(32), -1, "a:1")).toThrow();
    expect(() => validatorSetChange(true, "xyz", 2, "a:1")).toThrow("64 hexadecimal");
    expect(() => transfer("02".repeat(32), "usd", 1n)).toThrow("capital");
    expect(() => transfer("02".repeat(32), "USD", 1n << 128n)).toThrow();
  });

  it("carry nonces of the mesh's form that do not repeat", () => {
    const nonces = new Set(Array.from({ length: 100 }, freshNonce));
    expect(nonces.size).toBe(100);
    for (const nonce of nonces) expect(fromHex(nonce)).toHaveLength(16);
  });
});

describe("a change of the validator set", () => {
  /** A ledger that answers each submission with the next of these, and keeps what it was sent. */
  function ledgerThat(role: string, ...answers: (Submitted | Error)[]) {
    const sent: Uint8Array[] = [];
    let nonce = 7;
    const to: LedgerForChange = {
      about: async () => ({ chain: "test", genesisHash: "07".repeat(32), head: null }) as About,
      validators: async () => ({ currentEpoch: 4, validators: new Array(5).fill({}) }) as unknown as ValidatorSet,
      user: async () => ({ role, username: "@one", nonce }) as User,
      submit: async (bytes) => {
        sent.push(bytes);
        nonce += 1;
        const answer = answers.shift();
        if (!answer || answer instanceof Error) throw answer;
        return answer;
      },
    };
    return { to, sent };
  }
  const applied: Submitted = { id: "", status: "applied", code: "applied", blockHeight: 9, message: "" };
  const tooNear = new ApiError(422, "epoch_past", "The epoch is too near");
  const numbers = (bytes: Uint8Array) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return { nonce: Number(view.getBigUint64(8, true)), epoch: Number(view.getBigUint64(56 + 33, true)) };
  };

  it("is for two epochs ahead, with the next nonce", async () => {
    const { to, sent } = ledgerThat("sovereign", applied);
    const change = await changeSet(await readKeyFile(file), true, "09".repeat(32), "127.0.0.1:9050", to);
    expect(change).toEqual({ submitted: applied, epoch: 6 });
    expect(sent.map(numbers)).toEqual([{ nonce: 8, epoch: 6 }]);
  });

  it("is made again for a later epoch when that one came too near, and not for ever", async () => {
    const { to, sent } = ledgerThat("sovereign", tooNear, applied);
    expect((await changeSet(await readKeyFile(file), false, "09".repeat(32), "", to)).epoch).toBe(7);
    expect(sent.map(numbers)).toEqual([
      { nonce: 8, epoch: 6 },
      { nonce: 9, epoch: 7 },
    ]);
    const never = ledgerThat("sovereign", tooNear, tooNear, tooNear, applied);
    await expect(changeSet(await readKeyFile(file), true, "09".repeat(32), "a:1", never.to)).rejects.toThrow("too near");
    expect(never.sent).toHaveLength(3);
  });

  it("is not even signed for somebody else, and no other refusal is tried again", async () => {
    const stranger = ledgerThat("user", applied);
    await expect(changeSet(await readKeyFile(file), true, "09".repeat(32), "a:1", stranger.to)).rejects.toThrow("not the sovereign");
    expect(stranger.sent).toHaveLength(0);
    const known = ledgerThat("sovereign", new ApiError(422, "validator_exists", "It is one already"), applied);
    await expect(changeSet(await readKeyFile(file), true, "09".repeat(32), "a:1", known.to)).rejects.toThrow("already");
    expect(known.sent).toHaveLength(1);
  });
});
