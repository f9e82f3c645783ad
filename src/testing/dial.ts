/**
 * How a simulated stream comes to be: SYN, SYN and ACK, both sent again as Linux does when nobody answers, and the
 * refusals on the way. The client's end learns the outcome as its kernel does; the server's end begins to exist when
 * the SYN arrives.
 */
import { CallbackEvent } from "./event-queue.ts";
import type { Link } from "./link.ts";
import { Pipe } from "./pipe.ts";
import { backlogMax, type SimulatedListener } from "./simulated-listener.ts";
import { SimulatedSocket } from "./simulated-socket.ts";
import type { Universe } from "./universe.ts";

/** Linux's first SYN timeout; it doubles. After tcp_syn_retries = 6 it gives up, at 127 s. */
const synRetryMs = 1000;
const synRetriesMax = 6;

/** What a dial needs to know of its surroundings. */
export interface DialPlan {
  readonly universe: Universe;
  readonly socket: SimulatedSocket;
  readonly out: Link;
  readonly back: Link;
  /** Who listens there now. */
  readonly listener: () => SimulatedListener | undefined;
  readonly clientAddress: string;
  readonly serverAddress: string;
  readonly serverIdentities: readonly string[];
  /** What the client is told when nobody listens: TCP and Unix sockets differ. */
  readonly refusalCode: () => string;
}

/** Begins to connect `plan.socket`. */
export function dial(plan: DialPlan): void {
  new Dial(plan).send();
}

class Dial {
  private readonly plan: DialPlan;
  private readonly retryEvent = new CallbackEvent(() => this.send());
  private sent = 0;
  private isOver = false;
  private server: SimulatedSocket | undefined = undefined;

  constructor(plan: DialPlan) {
    this.plan = plan;
    plan.socket.onGivenUp = () => this.finish();
  }

  send(): void {
    const { universe, socket, out } = this.plan;
    if (this.sent > synRetriesMax) {
      this.finish();
      socket.failed("ETIMEDOUT", `connect ETIMEDOUT ${this.plan.serverAddress}`);
      return;
    }
    universe.log.add("connect", universe.nowMs, out.from.index, out.to.index, socket.id, this.sent, 0);
    universe.schedule(this.retryEvent, universe.nowMs + synRetryMs * 2 ** this.sent);
    this.sent++;
    this.travel(out, () => this.synArrived());
  }

  /** One packet on a link: it arrives, or it does not. */
  private travel(link: Link, arrived: () => void): void {
    const { universe } = this.plan;
    if (link.loses()) return;
    const event = new CallbackEvent(() => {
      if (!this.isOver && link.cuts === 0 && link.to.isUp) arrived();
    });
    universe.schedule(event, universe.nowMs + link.travelMs());
  }

  private synArrived(): void {
    const { universe, out, back, socket, serverAddress } = this.plan;
    if (this.server === undefined) {
      const listener = this.plan.listener();
      if (listener === undefined) {
        universe.log.add("refuse", universe.nowMs, out.from.index, out.to.index, socket.id, 0, 0);
        const code = this.plan.refusalCode();
        this.travel(back, () => {
          this.finish();
          socket.failed(code, `connect ${code} ${serverAddress}`);
        });
        return;
      }
      // A full backlog ignores who knocks: the client tries again and knows nothing.
      if (listener.waiting >= backlogMax) return;
      this.server = this.makeServerEnd(listener);
    }
    this.travel(back, () => this.answered());
  }

  private makeServerEnd(listener: SimulatedListener): SimulatedSocket {
    const { socket, clientAddress, serverAddress } = this.plan;
    const server = new SimulatedSocket(socket.id + 1, listener.process, clientAddress, serverAddress, undefined);
    server.listener = listener;
    server.serverIdentities = this.plan.serverIdentities;
    return server;
  }

  private answered(): void {
    const { universe, socket, out, back, clientAddress, serverAddress } = this.plan;
    const server = this.server;
    if (server === undefined) return;
    this.isOver = true;
    universe.cancel(this.retryEvent);
    universe.log.add("open", universe.nowMs, out.from.index, out.to.index, socket.id, 0, 0);
    const there = new Pipe(universe, out, back, socket, server);
    const hither = new Pipe(universe, back, out, server, socket);
    if (server.kernel === "connecting") {
      server.connected({ out: hither, incoming: there, peer: socket, link: back }, serverAddress, clientAddress);
    } else {
      // Its process or machine died meanwhile: what the client sends now is answered by a reset.
      server.diedBeforeOpen({ out: hither, incoming: there, peer: socket, link: back });
    }
    socket.connected({ out: there, incoming: hither, peer: server, link: out }, clientAddress, serverAddress);
  }

  /** Given up by its owner, or decided. */
  private finish(): void {
    this.isOver = true;
    this.plan.universe.cancel(this.retryEvent);
    const server = this.server;
    if (server !== undefined && server.kernel === "connecting") server.ownerDied();
  }
}
