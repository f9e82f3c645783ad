/**
 * Plays one universe from its plan: a storm of calls and faults, then calm in which every client must come back, then the end of
 * everything. Invariants are judged at every step; the first that does not hold ends it.
 */
import { createHash } from "node:crypto";
import { type Cluster, createCluster } from "holdfast/testing";
import { TestDirectory } from "../../src/durable/testdata/dedup-rigs.ts";
import { runtimeOf } from "../../src/wire/transport/runtime.ts";
import { type SimulatedJournal, simulatedJournal } from "../calls/simulated-journal.ts";
import { History } from "./history.ts";
import { invariants } from "./invariants.ts";
import {
  type Invariant,
  judge,
  type LastLook,
  type Leftover,
  type Look,
  type SeenClient,
  type Violation,
} from "./look.ts";
import { callInLoop, probeCall, type SimClient, startSimClient } from "./sim-client.ts";
import { type HandlerNotes, serveSim } from "./sim-service.ts";
import { serviceName, type UniversePlan } from "./universe-plan.ts";
import { WireTap } from "./wire-tap.ts";

/** Between two looks while there are calls, and in the calm. */
const stepMs = 10;
const calmStepMs = 500;
/** After all faults a client must have a way to some server: the longest dial, the wait between two dials, and TCP's own patience. */
const convergeMs = 30_000;
/** And to all of them: the greatest wait between two dials is 120 s +-20 %, and a dial may take 20 s. */
const calmMs = 170_000;
/** What a connection that was found dead by the last calls is given to be made anew. */
const redialMs = 60_000;
const probeTimeoutMs = 5000;
const probesInRow = 5;
/** A connection that ends gives its peer 1 s to end its side. */
const hardCloseMs = 1200;
/** Longer than any timer that a closed client or server could leave: the silence after which a connection is asked for life is 330 s. */
const afterMs = 700_000;

/** What became of a universe. */
export interface Played {
  readonly violation: Violation | undefined;
  /** The same for the same happenings: the network's log, and each call's outcome, attempts and end. */
  readonly hash: string;
  readonly calls: number;
  readonly attempts: number;
  readonly executions: number;
  readonly outcomes: Readonly<Record<string, number>>;
  /** Calls that succeeded after an attempt that had not. */
  readonly recovered: number;
  readonly virtualMs: number;
  /** The network's last entries. */
  readonly logTail: readonly string[];
}

/** Plays it. `judged`: what must hold, by default everything. */
export async function playUniverse(plan: UniversePlan, judged: readonly Invariant[] = invariants): Promise<Played> {
  const play = new Play(plan, judged);
  const violation = await play.run();
  return play.result(violation);
}

/** Thrown to end a play; not an error of anybody's. */
class Violated extends Error {
  readonly violation: Violation;

  constructor(violation: Violation) {
    super(violation.text);
    this.violation = violation;
  }
}

class Play {
  private readonly plan: UniversePlan;
  private readonly judged: readonly Invariant[];
  private readonly cluster: Cluster;
  private readonly history = new History();
  private readonly clients = new Map<string, SimClient>();
  private readonly handlers = new Map<string, HandlerNotes>();
  private readonly unhandled: string[] = [];
  private readonly lives = new Map<string, number>();
  private readonly boots = new Map<string, number>();
  private readonly readyPeers = new Set<string>();
  private readonly lostPeers = new Map<string, string>();
  private readonly directory = new TestDirectory();
  private readonly journal: SimulatedJournal | undefined;
  private drainsDone = 0;

  constructor(plan: UniversePlan, judged: readonly Invariant[]) {
    this.plan = plan;
    this.judged = judged;
    this.cluster = createCluster({ seed: plan.seed, link: plan.link });
    const { journal, replicas } = plan.servers;
    const { simulation } = this.cluster;
    const hosts = Array.from({ length: replicas }, (_, index) => `${serviceName}/${index}`);
    const directory = journal === "file" ? this.directory.path : undefined;
    this.journal = journal === undefined ? undefined : simulatedJournal({ simulation, hosts, directory });
  }

  async run(): Promise<Violation | undefined> {
    const noticed = (reason: unknown): void => {
      this.unhandled.push(`unhandled: ${reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)}`);
    };
    process.on("unhandledRejection", noticed);
    try {
      this.begin();
      await this.storm();
      await this.calm();
      await this.end();
      return undefined;
    } catch (error) {
      if (error instanceof Violated) return error.violation;
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return { invariant: "no-error-escapes", atMs: this.nowMs, text };
    } finally {
      process.off("unhandledRejection", noticed);
    }
  }

  async result(violation: Violation | undefined): Promise<Played> {
    const { cluster, history } = this;
    const hash = createHash("sha256").update(cluster.simulation.logHash());
    const outcomes: Record<string, number> = {};
    let recovered = 0;
    for (const { outcome, endedAtMs, attempts } of history.calls) {
      hash.update(`${outcome} ${endedAtMs} ${attempts.length}\n`);
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      if (outcome === "OK" && attempts.length > 1) recovered += 1;
    }
    const played = {
      violation,
      hash: hash.digest("hex"),
      calls: history.calls.length,
      attempts: history.attempts,
      executions: history.executions,
      outcomes,
      recovered,
      virtualMs: this.nowMs,
      logTail: cluster.simulation.logLines().slice(-30),
    };
    for (const { host } of this.plan.clients) cluster.simulation.crash(host);
    await cluster[Symbol.asyncDispose]();
    this.journal?.closeFiles();
    this.directory[Symbol.dispose]();
    return played;
  }

  private get nowMs(): number {
    return this.cluster.simulation.nowMs;
  }

  private begin(): void {
    const { plan, cluster, history } = this;
    const nowMs = (): number => this.nowMs;
    cluster.serve(
      serviceName,
      plan.servers.replicas,
      (server, index) => {
        const host = `${serviceName}/${index}`;
        const boot = (this.boots.get(host) ?? 0) + 1;
        this.boots.set(host, boot);
        const world = cluster.simulation.host(host);
        const isKeeping = this.journal !== undefined;
        const notes = { host, boot, world, history, nowMs, isKeeping, running: 0 };
        this.handlers.set(host, notes);
        return serveSim(server, notes);
      },
      {
        limits: {
          streamsPerConnectionMax: plan.servers.streamsMax,
          connectionAgeMsMax: plan.servers.connectionAgeMsMax,
        },
        drain: { propagationMs: 0 },
        dedup: this.journal,
      },
    );
    for (const client of plan.clients) {
      cluster.simulation.boot(client.host, (world) => {
        const life = this.lives.get(client.host) ?? 0;
        this.lives.set(client.host, life + 1);
        const tap = new WireTap(world, history, nowMs, client.workers);
        const started = startSimClient(plan, client, life, tap, cluster.target(serviceName));
        this.clients.set(client.host, started);
        for (let index = 0; index < client.workers; index++)
          void callInLoop(started, plan.servers.workMsMean, plan.stormMs);
      });
    }
    for (const fault of plan.faults) if (fault.kind !== "drain") cluster.inject(fault);
  }

  private async storm(): Promise<void> {
    while (this.nowMs < this.plan.stormMs) {
      this.drainWhoIsDue();
      await this.pass(stepMs);
    }
    // A server that was drained comes back with the end of the storm at the latest.
    this.drainWhoIsDue();
  }

  /** Everything that is open ends; every client finds a server; every client finds all servers. */
  private async calm(): Promise<void> {
    const { stormMs } = this.plan;
    while (this.nowMs < stormMs + convergeMs) await this.pass(this.history.open.size > 0 ? stepMs : calmStepMs);
    for (let round = 0; round < probesInRow; round++) await this.probeAll(1);
    while (this.nowMs < stormMs + calmMs) await this.pass(calmStepMs);
    await this.probeAll(2 * this.plan.servers.replicas);
    // A link that loses segments may be about to be made anew, and so may each that has grown old: not all are ready at one moment.
    const untilMs = this.nowMs + redialMs;
    this.noteReady();
    while (this.nowMs < untilMs && this.lostPeers.size > 0) {
      await this.pass(calmStepMs);
      this.noteReady();
    }
  }

  /** Peers of clients that were not ready at any look since the last calls, and what they were instead. */
  private noteReady(): void {
    for (const { host, peers } of this.seenClients()) {
      for (const { address, health } of peers) {
        const key = `to ${host} its peer ${address}`;
        if (health === "ready") this.readyPeers.add(key);
        if (this.readyPeers.has(key)) this.lostPeers.delete(key);
        else this.lostPeers.set(key, health);
      }
    }
  }

  private async probeAll(atOnce: number): Promise<void> {
    const all = [...this.clients.values()].flatMap((client) =>
      Array.from({ length: atOnce }, () => probeCall(client, probeTimeoutMs)),
    );
    let isDone = false;
    void Promise.all(all).then(() => {
      isDone = true;
    });
    while (!isDone) await this.pass(stepMs);
  }

  /** Ends servers and clients, in this order or the other, and looks at what is left. */
  private async end(): Promise<void> {
    const seen = this.seenClients();
    const closedInMs = new Map<string, number>();
    if (this.plan.seed % 2 === 0) await this.closeServers(closedInMs);
    const clients = [...this.clients.values()];
    await this.cluster.settle(Promise.all(clients.map(({ channel }) => channel.close())));
    await this.cluster.advance(hardCloseMs);
    if (this.plan.seed % 2 === 1) await this.closeServers(closedInMs);
    const soon = this.leftovers(false);
    await this.cluster.advance(afterMs);
    const look: LastLook = {
      ...this.look(seen),
      lostPeers: this.lostPeers,
      leftovers: [...soon, ...this.leftovers(true)],
      closedInMs,
      runningHandlers: new Map([...this.handlers.values()].map(({ host, running }) => [host, running])),
    };
    this.refuse(judge(this.judged, look, ({ always }) => always?.(look)));
    this.refuse(judge(this.judged, look, ({ atLast }) => atLast?.(look)));
  }

  private async closeServers(closedInMs: Map<string, number>): Promise<void> {
    for (let index = 0; index < this.plan.servers.replicas; index++) {
      const server = this.cluster.server(serviceName, index);
      const host = `${serviceName}/${index}`;
      if (server === undefined) {
        this.refuse({ invariant: "servers-return", atMs: this.nowMs, text: `${host} is down after the storm` });
        continue;
      }
      const { tookMs } = await this.cluster.settle(server.close({ timeoutMs: 20_000 }));
      closedInMs.set(host, tookMs);
    }
    await this.cluster.advance(hardCloseMs);
  }

  /** `isLater`: the world's own timers, which may wake once more for nothing, have had their time too. */
  private leftovers(isLater: boolean): readonly Leftover[] {
    const { simulation } = this.cluster;
    const servers = [...this.handlers.keys()].map((host) => {
      const { wheel, windows } = runtimeOf(simulation.host(host));
      const records = this.journal?.storeOf(host)?.snapshot().running ?? 0;
      return { host, counts: { deadlines: wheel.size, "window bytes": windows.granted, "running records": records } };
    });
    const clients = [...this.clients.values()].map(({ plan, tap, channel }) => {
      const { wheel, windows } = runtimeOf(tap.world);
      const open = tap.connections.filter(({ isClosed }) => !isClosed);
      const counts = {
        deadlines: wheel.size,
        "window bytes": windows.granted,
        calls: channel.core.openCalls,
        holds: tap.holds,
        connections: open.length,
        timers: isLater ? tap.timers : 0,
      };
      return { host: plan.host, counts };
    });
    return [...servers, ...clients];
  }

  private async pass(ms: number): Promise<void> {
    await this.cluster.advance(ms);
    for (const call of this.history.open) {
      const client = this.clients.get(call.client);
      if (client?.life !== call.life || !this.cluster.simulation.isRunning(call.client))
        this.history.callAbandoned(call);
    }
    const look = this.look(this.seenClients());
    this.refuse(judge(this.judged, look, ({ always }) => always?.(look)));
  }

  private look(clients: readonly SeenClient[]): Look {
    const { plan, history, nowMs, unhandled } = this;
    return { plan, history, nowMs, clients, unhandled, fresh: history.takeFresh() };
  }

  private seenClients(): readonly SeenClient[] {
    return [...this.clients.values()]
      .filter(({ plan }) => this.cluster.simulation.isRunning(plan.host))
      .map(({ plan, life, tap, channel }) => ({ host: plan.host, life, tap, peers: channel.peers() }));
  }

  private refuse(violation: Violation | undefined): void {
    if (violation !== undefined) throw new Violated(violation);
  }

  /** Drains servers whose time has come: in their own process, so that a stopped one does it when it goes on. */
  private drainWhoIsDue(): void {
    const { simulation } = this.cluster;
    const drains = this.plan.faults.filter(({ kind }) => kind === "drain");
    for (let drain = drains[this.drainsDone]; drain !== undefined; drain = drains[this.drainsDone]) {
      if (drain.atMs > this.nowMs) return;
      this.drainsDone += 1;
      if (drain.kind !== "drain") continue;
      const { peer, forMs = 1000 } = drain;
      const server = this.cluster.server(serviceName, Number(peer.split("/")[1]));
      if (server === undefined) continue;
      const { timers } = simulation.host(peer);
      timers.schedule(0, () => void server.close({ timeoutMs: Math.max(1, Math.floor(forMs / 2)) }));
      this.cluster.inject({ kind: "restart", peer, atMs: forMs, forMs: 1 });
    }
  }
}
