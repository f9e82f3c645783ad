/**
 * Rooms of src/ and who may import whom: the table of ARCHITECTURE.md as data. imports.test.ts checks every import with it.
 */

/** Room names end with "/*" where a room is one of several that may not import each other (policy/detect, policy/balance ...). */
export type RoomPattern = string;

const BASE = ["call", "world", "schema"] as const;
const WIRE = ["wire/http2", "wire/grpc", "wire/netrpc", "wire/transport"] as const;
const MIDDLE = ["policy/*", "fleet/*", "durable", "chaos", "observe"] as const;

/** Room -> the rooms it may import, besides itself. */
export const MAY_IMPORT: Readonly<Record<RoomPattern, readonly RoomPattern[]>> = {
  world: [],
  call: ["world"],
  schema: ["world", "call"],
  "wire/http2": ["world"],
  "wire/grpc": BASE,
  "wire/netrpc": BASE,
  "wire/transport": ["wire/http2", "wire/grpc", "call", "world"],
  "policy/*": BASE,
  "fleet/*": BASE,
  durable: BASE,
  chaos: BASE,
  observe: BASE,
  client: [...BASE, ...WIRE, ...MIDDLE],
  server: [...BASE, ...WIRE, ...MIDDLE],
  gateway: ["server", "client", ...WIRE, ...BASE],
  simulate: ["testing", "front", "gateway", "server", "client", ...BASE, ...WIRE, ...MIDDLE],
  testing: ["front", "gateway", "server", "client", ...BASE, ...WIRE, ...MIDDLE],
  cli: ["simulate", "testing", "front", "gateway", "server", "client", ...BASE, ...WIRE, ...MIDDLE],
  front: ["gateway", "server", "client", ...BASE, ...WIRE, ...MIDDLE],
};

/** What only its own room and the rooms that serve tests may use. */
export const ANYTHING_BUT: readonly RoomPattern[] = ["cli"];

/**
 * The room of a file under src/, or undefined where no room of the table has it. `src/index.ts` is the room "front". A room with
 * parts (wire, policy, fleet) holds no file of its own.
 */
export function roomOf(path: string): string | undefined {
  const parts = path.split("/").slice(1);
  if (parts.length === 1) return parts[0] === "index.ts" ? "front" : undefined;
  const [first = "", second = ""] = parts;
  if (Object.hasOwn(MAY_IMPORT, first)) return first;
  if (parts.length === 2) return undefined;
  const room = `${first}/${second}`;
  return Object.hasOwn(MAY_IMPORT, room) || Object.hasOwn(MAY_IMPORT, `${first}/*`) ? room : undefined;
}

/** Whether a file of room `from` may import one of room `to`. */
export function mayImport(from: string, to: string): boolean {
  if (from === to) return true;
  const allowed = MAY_IMPORT[from] ?? MAY_IMPORT[`${from.split("/")[0] ?? ""}/*`] ?? [];
  return allowed.some((pattern) => pattern === to || (pattern.endsWith("/*") && to.startsWith(pattern.slice(0, -1))));
}
