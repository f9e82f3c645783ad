/** Metadata in the runner's form: text per name, bytes as base64 without padding. */
import { create } from "@bufbuild/protobuf";
import type { Fields } from "../interop/peer.ts";
import { type Header, HeaderSchema } from "./gen/connectrpc/conformance/v1/service_pb.js";

export function fieldsOf(headers: readonly Header[]): Fields {
  return headers.flatMap(({ name, value }) => {
    const key = name.toLowerCase();
    return value.map(
      (text) => [key, key.endsWith("-bin") ? new Uint8Array(Buffer.from(text, "base64")) : text] as const,
    );
  });
}

export function headersOf(fields: Fields): Header[] {
  const byName = new Map<string, string[]>();
  for (const [name, value] of fields) {
    const text = typeof value === "string" ? value : Buffer.from(value).toString("base64").replace(/=+$/, "");
    byName.set(name, [...(byName.get(name) ?? []), text]);
  }
  return [...byName].map(([name, value]) => create(HeaderSchema, { name, value }));
}
