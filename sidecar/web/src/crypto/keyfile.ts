// A key file as `tana new user` writes it: JSON with `publicKey` and `privateKey`. It is read here and goes nowhere else. Where the browser
// signs Ed25519 itself (WebCrypto, on https or localhost), the private half ends in a key object that even this page cannot read back;
// elsewhere @noble/curves signs, and the bytes stay in this module's memory until the key is forgotten or the page is left.

import { keyBytes, printKey } from "../util/hex";

/** Bytes of a key file at the most; real ones have a few hundred. */
export const KEY_FILE_BYTES_MAX = 65_536;

/** Somebody who can sign. */
export interface Signer {
  publicKey: Uint8Array<ArrayBuffer>;
  /** `ed25519_` and 64 digits. */
  printed: string;
  username: string;
  /** The 64 bytes of an Ed25519 signature over `bytes`. */
  sign(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
  /** Which implementation signs. */
  by: "WebCrypto" | "noble";
}

/** What a private key of 32 bytes needs in front of it to be PKCS #8. */
const PKCS8 = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/** Reads a key file's text; throws with a sentence for people. The text is not kept. */
export async function readKeyFile(text: string, webCrypto: SubtleCrypto | null = globalThis.crypto?.subtle ?? null): Promise<Signer> {
  if (text.length > KEY_FILE_BYTES_MAX) throw new Error("this file is too large to be a key file");
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("this file is not JSON; a key file is, such as ~/.config/tana/users/@you.json");
  }
  const fields = (typeof file === "object" && file !== null ? file : {}) as Record<string, unknown>;
  if (typeof fields.publicKey !== "string" || typeof fields.privateKey !== "string") {
    throw new Error("this file has no publicKey and privateKey");
  }
  const publicKey = keyBytes(fields.publicKey);
  const seed = keyBytes(fields.privateKey);
  const username = typeof fields.username === "string" ? fields.username.slice(0, 50) : "";
  const signer = (await viaWebCrypto(publicKey, seed, webCrypto)) ?? (await viaNoble(publicKey, seed));
  return { publicKey, printed: printKey(publicKey), username, ...signer };
}

const MISMATCH = "publicKey and privateKey in this file do not belong together";

async function viaWebCrypto(
  publicKey: Uint8Array<ArrayBuffer>,
  seed: Uint8Array,
  subtle: SubtleCrypto | null,
): Promise<Pick<Signer, "sign" | "by"> | null> {
  if (!subtle) return null;
  let key: CryptoKey;
  let check: CryptoKey;
  const pkcs8 = Uint8Array.from([...PKCS8, ...seed]);
  try {
    key = await subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
    check = await subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
  } catch {
    // A browser without Ed25519, or bytes that it refuses and the other implementation will name.
    return null;
  } finally {
    pkcs8.fill(0);
  }
  const probe = new TextEncoder().encode("does the public half fit?");
  if (!(await subtle.verify("Ed25519", check, await subtle.sign("Ed25519", key, probe), probe))) throw new Error(MISMATCH);
  seed.fill(0);
  return { by: "WebCrypto", sign: async (bytes) => new Uint8Array(await subtle.sign("Ed25519", key, bytes)) };
}

async function viaNoble(publicKey: Uint8Array, seed: Uint8Array): Promise<Pick<Signer, "sign" | "by">> {
  const { ed25519 } = await import("@noble/curves/ed25519.js");
  if (!ed25519.getPublicKey(seed).every((byte, i) => byte === publicKey[i])) throw new Error(MISMATCH);
  return { by: "noble", sign: async (bytes) => ed25519.sign(bytes, seed) };
}
