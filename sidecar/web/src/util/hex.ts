// Bytes and hexadecimal digits, strictly.

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Reads digits in pairs; throws when it is anything else. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) throw new Error("not hexadecimal digits");
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** The 32 bytes of a printed key, public or private: `ed25519_` and 64 digits, or the digits alone. */
export function keyBytes(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.startsWith("ed25519_") ? text.slice("ed25519_".length) : text;
  if (!/^[0-9a-fA-F]{64}$/.test(digits)) throw new Error("a key is ed25519_ and 64 hexadecimal digits");
  return fromHex(digits);
}

export function printKey(bytes: Uint8Array): string {
  return `ed25519_${toHex(bytes)}`;
}
