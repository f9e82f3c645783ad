/**
 * What tells one payload from another: SHA-256 (FIPS 180-4). A weaker hash would let a caller find two orders that look alike.
 */
import { hash } from "node:crypto";

/** 43 characters of base64url. A text, for Node makes it three times as fast as bytes, and it is compared with `===`. */
export function payloadHashOf(payload: Uint8Array): string {
  return hash("sha256", payload, "base64url");
}
