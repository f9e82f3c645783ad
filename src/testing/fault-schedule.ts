/** Carries out injections in a simulated world: each begins at its time and is taken back after it. */
import { crc32 } from "node:zlib";
import { CallbackEvent } from "./event-queue.ts";
import type { Host } from "./host.ts";
import { isMeant, type NetworkInjection } from "./injection.ts";
import { checkRange, type Link, type SegmentFault } from "./link.ts";
import type { SimulatedNetwork } from "./simulated-network.ts";
import type { Universe } from "./universe.ts";

const restartMsDefault = 1000;

/** What the schedule needs others to do. */
export interface FaultActions {
  crash(host: Host, isMachine: boolean): void;
  restart(host: Host): void;
}

/** Something put on links: while it holds, also on those that are made later. */
interface LinkRule {
  readonly applies: (link: Link) => boolean;
  readonly put: (link: Link) => void;
  readonly takeBack: (link: Link) => void;
}

export class FaultSchedule {
  private readonly universe: Universe;
  private readonly network: SimulatedNetwork;
  private readonly actions: FaultActions;
  private readonly rules = new Set<LinkRule>();
  private nameNext = 0;
  private begun = 0;

  constructor(universe: Universe, network: SimulatedNetwork, actions: FaultActions) {
    this.universe = universe;
    this.network = network;
    this.actions = actions;
    network.onLink = (link) => {
      for (const rule of this.rules) if (rule.applies(link)) rule.put(link);
    };
  }

  /** Begins now or later; throws RangeError for a value that cannot be, at once. */
  add(injection: NetworkInjection): void {
    const { atMs = 0, forMs } = injection;
    checkRange("atMs", atMs, 0, Number.MAX_SAFE_INTEGER);
    if (forMs !== undefined) checkRange("forMs", forMs, 0, Number.MAX_SAFE_INTEGER);
    const begin = this.prepared(injection);
    const { universe } = this;
    const check = crc32(JSON.stringify(injection));
    const event = new CallbackEvent(() => {
      universe.log.add("fault", universe.nowMs, -1, -1, this.begun++, 0, check);
      const takeBack = begin();
      const lastsMs = durationMs(injection);
      if (takeBack !== undefined && lastsMs !== undefined) {
        universe.schedule(new CallbackEvent(takeBack), universe.nowMs + lastsMs);
      }
    });
    universe.schedule(event, universe.nowMs + atMs);
  }

  /** Cuts the way from one to the other; gives back what heals it. */
  cut(from: string, to: string): () => void {
    return this.rule({
      applies: (link) => isMeant(from, link.from.name) && isMeant(to, link.to.name) && link.from !== link.to,
      put: (link) => {
        link.cuts++;
      },
      takeBack: (link) => {
        link.cuts--;
      },
    });
  }

  /** What is to be done when its time has come; that gives back how to undo it. */
  private prepared(injection: NetworkInjection): () => (() => void) | undefined {
    switch (injection.kind) {
      case "crash":
      case "restart": {
        const isMachine = injection.kind === "crash" && injection.isMachine === true;
        return () => this.each(injection.peer, (host) => this.crash(host, isMachine));
      }
      case "freeze":
      case "stall":
        if (injection.kind === "stall") checkRange("stallMs", injection.stallMs, 0, Number.MAX_SAFE_INTEGER);
        return () => this.each(injection.peer, (host) => this.freeze(host));
      case "clock-jump":
        if (!Number.isSafeInteger(injection.byMs)) throw new RangeError(`byMs must be whole, got ${injection.byMs}`);
        return () => this.each(injection.peer, (host) => jump(host, injection.byMs));
      case "partition": {
        const [left, right] = injection.between;
        return () => {
          const heals = [this.cut(left, right)];
          if (injection.isOneWay !== true) heals.push(this.cut(right, left));
          return () => {
            for (const heal of heals) heal();
          };
        };
      }
      case "reset":
      case "truncate":
      case "delay":
      case "drop":
      case "corrupt":
        return this.preparedSegmentFault(injection);
    }
  }

  private preparedSegmentFault(
    injection: NetworkInjection & { readonly kind: SegmentFault["effect"] },
  ): () => (() => void) | undefined {
    const { peer, share = 1 } = injection;
    checkRange("share", share, 0, 1);
    const delayMs = injection.kind === "delay" ? injection.delayMs : 0;
    checkRange("delayMs", delayMs, 0, Number.MAX_SAFE_INTEGER);
    const random = this.universe.random(`fault ${this.nameNext++}`);
    const fault: SegmentFault = { share, random, effect: injection.kind, delayMs };
    if ((fault.effect === "reset" || fault.effect === "truncate") && injection.forMs === undefined) {
      return () => this.each(peer, (host) => breakConnections(host, fault));
    }
    return () =>
      this.rule({
        applies: (link) => isMeant(peer, link.from.name) || isMeant(peer, link.to.name),
        put: (link) => link.faults.push(fault),
        takeBack: (link) => link.faults.splice(link.faults.indexOf(fault), 1),
      });
  }

  private rule(rule: LinkRule): () => void {
    this.rules.add(rule);
    for (const link of this.network.allLinks()) if (rule.applies(link)) rule.put(link);
    return () => {
      if (!this.rules.delete(rule)) return;
      for (const link of this.network.allLinks()) if (rule.applies(link)) rule.takeBack(link);
    };
  }

  private each(peer: string | undefined, act: (host: Host) => (() => void) | undefined): () => void {
    const undos: (() => void)[] = [];
    for (const host of this.network.hosts.values()) {
      if (!isMeant(peer, host.name)) continue;
      const undo = act(host);
      if (undo !== undefined) undos.push(undo);
    }
    return () => {
      for (const undo of undos) undo();
    };
  }

  private crash(host: Host, isMachine: boolean): (() => void) | undefined {
    const { process } = host;
    if (!process.isAlive) return undefined;
    this.actions.crash(host, isMachine);
    return () => {
      // Somebody else may have started it meanwhile.
      if (host.process === process) this.actions.restart(host);
    };
  }

  private freeze(host: Host): () => void {
    const { universe } = this;
    const { process } = host;
    host.freeze();
    universe.log.add("freeze", universe.nowMs, host.index, host.index, 0, 0, 0);
    return () => {
      if (host.process !== process || !process.isAlive) return;
      universe.log.add("thaw", universe.nowMs, host.index, host.index, 0, 0, 0);
      host.thaw();
    };
  }
}

function durationMs(injection: NetworkInjection): number | undefined {
  if (injection.kind === "stall") return injection.stallMs;
  if (injection.kind === "restart") return injection.forMs ?? restartMsDefault;
  return injection.forMs;
}

function jump(host: Host, byMs: number): () => void {
  host.wallStartMs += byMs;
  return () => {
    host.wallStartMs -= byMs;
  };
}

function breakConnections(host: Host, fault: SegmentFault): undefined {
  for (const socket of [...host.sockets]) {
    if (fault.random.float() < fault.share) socket.break(fault.effect === "truncate" ? "end" : "reset");
  }
}
