/** What is measured: the scenarios, each a list of cases that run one after the other on one pair of processes. */
import type { LoadKind, LoadSpec } from "./commands.ts";
import { contenderNames, type ContenderName } from "./contender.ts";

/** One measurement of a scenario. */
export interface Case {
  /** Its name in `ratios`: the number in flight, or the kind of stream. */
  readonly key: string;
  readonly load: LoadSpec;
}

export interface Scenario {
  readonly summary: string;
  /** What `rps` counts. */
  readonly unit: "calls" | "messages";
  readonly cases: readonly Case[];
  readonly isTls: boolean;
  readonly connections: number;
  readonly contenders: readonly ContenderName[];
  /** Bytes of payload that a call carries in each direction, where throughput is the point. */
  readonly payloadBytes?: number | undefined;
}

export type ScenarioName = "unary" | "order" | "stream" | "large" | "tls" | "open" | "idle";

const withStreams = contenderNames.filter((name) => name !== "socket-floor");

export const scenarios: Readonly<Record<Exclude<ScenarioName, "idle">, Scenario>> = {
  unary: {
    summary: "Add(a, b), closed loop",
    unit: "calls",
    cases: closedLoops("add", [1, 64, 256]),
    isTls: false,
    connections: 1,
    contenders: contenderNames,
  },
  order: {
    summary: "an order of about 0.5 KiB there and back, 64 in flight",
    unit: "calls",
    cases: closedLoops("order", [64]),
    isTls: false,
    connections: 1,
    contenders: contenderNames,
  },
  stream: {
    summary: "messages of about 20 bytes in 4 streams of 2,000 messages each, opened again and again",
    unit: "messages",
    cases: [
      { key: "server", load: { kind: "down", concurrency: 4 } },
      { key: "client", load: { kind: "up", concurrency: 4 } },
      { key: "bidi", load: { kind: "both", concurrency: 4 } },
    ],
    isTls: false,
    connections: 1,
    contenders: withStreams,
  },
  large: {
    summary: "1 MiB there and back, 4 in flight",
    unit: "calls",
    cases: closedLoops("echo", [4]),
    isTls: false,
    connections: 1,
    contenders: contenderNames,
    payloadBytes: 1024 * 1024,
  },
  tls: {
    summary: "Add(a, b) over TLS 1.3, one certificate, verified, closed loop",
    unit: "calls",
    cases: closedLoops("add", [64, 1]),
    isTls: true,
    connections: 1,
    contenders: contenderNames,
  },
  open: {
    summary: "Add(a, b), 8,000 calls started a second whatever the server does; latency from when a call was due",
    unit: "calls",
    cases: [{ key: "8000", load: { kind: "add", concurrency: 0, perSecond: 8_000 } }],
    isTls: false,
    connections: 1,
    contenders: contenderNames,
  },
};

/** Closed loops of one kind, keyed by what is in flight. */
export function closedLoops(kind: LoadKind, concurrencies: readonly number[]): readonly Case[] {
  return concurrencies.map((concurrency) => ({ key: String(concurrency), load: { kind, concurrency } }));
}
