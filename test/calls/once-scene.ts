/**
 * Calls of effect once among scripted peers, in virtual time: what keeps first answers, who was asked for which store, what was run.
 */
import assert from "node:assert/strict";
import { annotate, type CallOptions, type Client, createClient, RpcError } from "holdfast";
import type { Resolver } from "holdfast/discover";
import { createSimulation, type Simulation } from "holdfast/testing";
import type { CallRecord } from "../../src/call/event.ts";
import type { ChannelOptions, ClientOptions } from "../../src/client/options.ts";
import { Probe } from "../simulation/probe-cluster.ts";
import { bootDedupPeer, type DedupLine, type DedupLog, type DedupScript } from "./dedup-peer.ts";

export const OnceProbe = annotate(Probe, { unary: { effect: "once" }, download: { effect: "once" } });
export type Options = ClientOptions<typeof OnceProbe> & ChannelOptions;
export type Peers = (index: number, lines: DedupLine[]) => DedupScript;

/** A store in each process: lost with it, and another after a restart. */
export const inProcess: Peers = (index, lines) => {
  const stores: Set<string>[] = [];
  return { announces: (boot) => `p${index}-${boot} process`, kept: (boot) => (stores[boot] ??= new Set()), lines };
};
/** A store on each machine. */
export const onMachine: Peers = (index, lines) => {
  const store = new Set<string>();
  return { announces: () => `m${index} machine`, kept: () => store, lines };
};
/** One store for all; or for the even and the odd ones each. */
export const ofService = (count: 1 | 2): Peers => {
  const stores = [new Set<string>(), new Set<string>()];
  return (index, lines) => {
    const at = index % count;
    return { announces: () => `s${at} service`, kept: () => stores[at] as Set<string>, lines };
  };
};
/** Behind each address a balancer of connections: each of them leads to a process of its own. */
export const ofBalancer: Peers = (index, lines) => ({ ...inProcess(index, lines), isBalancer: true });
/** Stores of their own, of which they say this. */
export const saying =
  (text: (index: number) => string | undefined, isForeign = false): Peers =>
  (index, lines) => {
    const store = new Set<string>();
    return { announces: () => text(index), kept: () => store, lines, isForeign };
  };

export interface Scene extends AsyncDisposable {
  readonly simulation: Simulation;
  readonly log: DedupLog;
  /** For the next requests of any peer. */
  readonly lines: DedupLine[];
  readonly client: Client<typeof OnceProbe>;
  readonly records: CallRecord[];
  /** One call, to its end: what it failed with, if it did. */
  call(options?: CallOptions<"once">): Promise<RpcError | undefined>;
  /** The resolver names it no more, for good. */
  forget(host: string): void;
  /** Until each peer has said what it has to say. */
  warm(): Promise<void>;
}

/** So many peers, the lines for the next requests of any of them, a client, and what was asked and run. */
export function scene(count: number, peers: Peers, options: Options = {}, seed = 1): Scene {
  const simulation = createSimulation({ seed });
  const log: DedupLog = { requests: [], effects: [] };
  const lines: DedupLine[] = [];
  const hosts = Array.from({ length: count }, (_, index) => `p${index}`);
  for (const [index, host] of hosts.entries()) bootDedupPeer(simulation, host, peers(index, lines), log);
  const world = simulation.host("client");
  const named = hosts.map((host) => `${host}:50051`);
  let forget: (host: string) => void = () => {};
  const forgotten = new Promise<string>((resolve) => {
    forget = resolve;
  });
  const resolver: Resolver = {
    name: "scene",
    async *watch() {
      yield named.map((address) => ({ address }));
      const gone = `${await forgotten}:50051`;
      yield named.filter((address) => address !== gone).map((address) => ({ address }));
    },
  };
  const client = createClient(OnceProbe, resolver, { world, plaintext: true, ...options });
  const records: CallRecord[] = [];
  client.$on("call.ended", ({ record }) => records.push(record));
  const call = async (given?: CallOptions<"once">): Promise<RpcError | undefined> =>
    simulation.settle(
      client.unary({}, given).then(
        () => undefined,
        (error: unknown) => RpcError.from(error),
      ),
      { limitMs: 120_000 },
    );
  return {
    simulation,
    log,
    lines,
    client,
    records,
    call,
    forget,
    async warm(): Promise<void> {
      await simulation.advance(1);
      await simulation.settle(client.$channel.ready());
      await simulation.advance(100);
      const isAsked = (host: string): boolean => log.requests.some((request) => request.host === host);
      for (let calls = 0; calls < 200 && !hosts.every(isAsked); calls++) assert.equal(await call(), undefined);
      assert.ok(hosts.every(isAsked));
      log.requests.length = 0;
      log.effects.length = 0;
      records.length = 0;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await simulation.settle(client.$close({ timeoutMs: 0 }));
    },
  };
}

/** Who was asked, in order, and for which store. */
export function asked({ log }: Scene): readonly string[] {
  return log.requests.map(({ host, asks }) => (asks === undefined ? host : `${host} for ${asks}`));
}

/** It fails as one of which nobody can tell whether it was done. */
export function assertUnknown(error: RpcError | undefined, cause: RegExp): void {
  assert.deepEqual([error?.code, error?.reason, error?.reached], ["ABORTED", "OUTCOME_UNKNOWN", "maybe"]);
  assert.match(String(error?.cause), cause);
  assert.match(error?.text ?? "", /callId as idempotencyKey may be used later/);
  assert.equal(error?.isRepeatable, false);
  assert.ok((error?.faults.length ?? 0) > 0);
}

export const LOST = /UNAVAILABLE: .*(closed|reset|destroyed|lost)/;
