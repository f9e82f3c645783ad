/**
 * What a fault proxy can do to connections: the vocabulary, checked. After Toxiproxy's toxics (github.com/Shopify/toxiproxy), with
 * silence, half-open connections and flipped bits added.
 */
import { numberOption, type OptionShape, resolveOptions, wordOption } from "../call/options.ts";

/** Which way: `up` is from the client to the target, `down` the way back. */
export type ProxyDirection = "up" | "down" | "both";

/**
 * One fault of a fault proxy. `share` is the part of connections that suffers, 0..1, default 1; each fault has dice of its own, thrown
 * once for each connection. `direction` is `both` unless said.
 *
 * - `latency`: bytes arrive `latencyMs` later, give or take up to `jitterMs` (default 0), in order all the same. 0..3,600,000.
 * - `bandwidth`: at most `bytesPerSecond` pass, 1 or more. Of several the lowest holds.
 * - `slice`: what passes comes in pieces of at most `sliceBytes`, `delayMs` (default 0) apart.
 * - `corrupt`: one bit flips in every so many bytes (`everyBytes`, at a place drawn anew each time), or in a share of the
 *   chunks passed on (`chunkShare`, 0..1). One of the two is given.
 * - `stall`: nothing passes, no end either; the connection stays, and the sender feels that nobody reads. What waits passes when it is over.
 * - `silence`: what is sent is taken and lost. When it is over, connections that lost something are reset.
 * - `reset`: the connection is reset once `afterBytes` (default 0: at once) have passed, counted in each direction since the fault came.
 * - `limit`: it is closed in order once `bytes` have passed, counted likewise.
 * - `slow-close`: the end of a stream, or its break, is passed on `delayMs` later.
 * - `half-open`: the target's side is cut and the client is not told: what it sends is lost and nothing comes back. New
 *   connections are accepted and never answered. When it is over, such connections are reset, as by a machine that has come back.
 * - `refuse`: new connections are reset. Those that are there live on.
 */
export type ProxyFault = { readonly share?: number | undefined } & (
  | { readonly kind: "half-open" | "refuse" }
  | ({ readonly direction?: ProxyDirection | undefined } & (
      | { readonly kind: "latency"; readonly latencyMs: number; readonly jitterMs?: number | undefined }
      | { readonly kind: "bandwidth"; readonly bytesPerSecond: number }
      | { readonly kind: "slice"; readonly sliceBytes: number; readonly delayMs?: number | undefined }
      | {
          readonly kind: "corrupt";
          readonly everyBytes?: number | undefined;
          readonly chunkShare?: number | undefined;
        }
      | { readonly kind: "stall" | "silence" }
      | { readonly kind: "reset"; readonly afterBytes?: number | undefined }
      | { readonly kind: "limit"; readonly bytes: number }
      | { readonly kind: "slow-close"; readonly delayMs: number }
    ))
);

/** Faults that one proxy has at once at most. */
export const PROXY_FAULTS_MAX = 64;

/** Longest delay of anything. */
const DELAY_MS_MAX = 3_600_000;
const delayMs = { min: 0, max: DELAY_MS_MAX };
const bytes = { min: 0, max: Number.MAX_SAFE_INTEGER, integer: true };
const share = numberOption({ default: 1, min: 0, max: 1 });
const direction = wordOption(["up", "down", "both"], { default: "both" });

/** What each kind may have, and resolves to. */
const SHAPES = {
  latency: {
    share,
    direction,
    latencyMs: numberOption({ default: undefined, ...delayMs }),
    jitterMs: numberOption({ default: 0, ...delayMs }),
  },
  bandwidth: { share, direction, bytesPerSecond: numberOption({ default: undefined, min: 1, max: 1e12 }) },
  slice: {
    share,
    direction,
    sliceBytes: numberOption({ default: undefined, ...bytes, min: 1 }),
    delayMs: numberOption({ default: 0, ...delayMs }),
  },
  corrupt: {
    share,
    direction,
    everyBytes: numberOption({ default: undefined, ...bytes, min: 1 }),
    chunkShare: numberOption({ default: undefined, min: 0, max: 1 }),
  },
  stall: { share, direction },
  silence: { share, direction },
  reset: { share, direction, afterBytes: numberOption({ default: 0, ...bytes }) },
  limit: { share, direction, bytes: numberOption({ default: undefined, ...bytes }) },
  "slow-close": { share, direction, delayMs: numberOption({ default: undefined, ...delayMs }) },
  "half-open": { share },
  refuse: { share },
} satisfies Record<ProxyFault["kind"], OptionShape>;

/** The key without which a kind says nothing. */
const REQUIRED: Readonly<Partial<Record<ProxyFault["kind"], string>>> = {
  latency: "latencyMs",
  bandwidth: "bytesPerSecond",
  slice: "sliceBytes",
  limit: "bytes",
  "slow-close": "delayMs",
};

const KINDS = wordOption(Object.keys(SHAPES) as ProxyFault["kind"][]);

/** A fault with its defaults filled in. */
export type CheckedFault =
  | Checked<"latency", { readonly latencyMs: number; readonly jitterMs: number }>
  | Checked<"bandwidth", { readonly bytesPerSecond: number }>
  | Checked<"slice", { readonly sliceBytes: number; readonly delayMs: number }>
  | Checked<"corrupt", { readonly everyBytes: number | undefined; readonly chunkShare: number | undefined }>
  | Checked<"stall" | "silence", unknown>
  | Checked<"reset", { readonly afterBytes: number }>
  | Checked<"limit", { readonly bytes: number }>
  | Checked<"slow-close", { readonly delayMs: number }>
  | Checked<"half-open" | "refuse", unknown>;

type Checked<K extends ProxyFault["kind"], Own> = {
  readonly kind: K;
  readonly share: number;
  readonly direction: ProxyDirection;
} & Own;

/** Checks a list of faults and fills in what was left out. TypeError or RangeError, naming `faults[i].key`, for what cannot be. */
export function checkedFaults(faults: readonly ProxyFault[]): readonly CheckedFault[] {
  if (!Array.isArray(faults)) throw new TypeError('faults must be an array, such as [{ kind: "stall" }]');
  if (faults.length > PROXY_FAULTS_MAX) {
    throw new RangeError(`faults must have at most ${PROXY_FAULTS_MAX} items, got ${faults.length}`);
  }
  return faults.map((fault: ProxyFault, index) => checkedFault(`faults[${index}]`, fault));
}

function checkedFault(at: string, fault: unknown): CheckedFault {
  if (typeof fault !== "object" || fault === null) throw new TypeError(`${at} must be an object with a kind`);
  const { kind: given, ...own } = fault as { readonly kind?: unknown };
  const { kind } = resolveOptions(at, { kind: given }, { kind: KINDS });
  if (kind === undefined) throw new TypeError(`${at}.kind must be given`);
  const resolved: Readonly<Record<string, unknown>> = resolveOptions(at, own, SHAPES[kind] as OptionShape);
  const required = REQUIRED[kind];
  if (required !== undefined && resolved[required] === undefined) {
    throw new TypeError(`${at}.${required} must be given for kind "${kind}"`);
  }
  if (kind === "corrupt" && (resolved["everyBytes"] === undefined) === (resolved["chunkShare"] === undefined)) {
    throw new TypeError(`${at} must have either everyBytes or chunkShare for kind "corrupt"`);
  }
  // The shape of the kind has checked the rest.
  return { direction: "both", ...resolved, kind } as CheckedFault;
}
