/**
 * Happy eyeballs (RFC 8305; gRFC A61): a name is connected by dialling all its addresses, one after the other without waiting for
 * the one before to fail, and keeping the first that answers. The race is one socket to its owner.
 *
 * node:net has happy eyeballs of its own, but cuts every address except the last after the delay: a peer further away than that is
 * never reached. Here the delay starts the next dial and ends none.
 *
 * Invariants: addresses are dialled in the order of {@link dialOrder}; there is one timer at most, and none once the last has been
 * dialled; when the owner has been told `opened` or `closed`, or has called `destroy`, no timer and no dial but the winner is left.
 */
import { isAddressLiteral } from "../../world/address-literal.ts";
import type {
  ClientTlsOptions,
  ConnectOptions,
  NetworkError,
  ResolveResult,
  Socket,
  SocketAddress,
  SocketEvents,
  TlsFacts,
} from "../../world/network.ts";
import type { Timer, Timers } from "../../world/timers.ts";
import type { World } from "../../world/world.ts";
import { addressText } from "./address.ts";
import { HANDLER_THREW } from "./connection.ts";
import { patientTimers } from "./patient-timers.ts";

/** RFC 8305, section 5, and gRFC A61: 250 ms, at least 100 ms, at most 2 s. */
const ATTEMPT_DELAY_MS = 250;
const ATTEMPT_DELAY_MS_MIN = 100;
const ATTEMPT_DELAY_MS_MAX = 2_000;
/** A name with a thousand addresses is a mistake or an attack; both families are among the first eight. */
const ADDRESSES_MAX = 8;
/** So many addresses an error names. */
const ADDRESSES_NAMED_MAX = 4;

export interface RacingOptions {
  /** Undefined: plaintext. With TLS the race is won by who has finished the handshake, and all must prove the name. */
  readonly tls: ClientTlsOptions | undefined;
  /** ALPN protocols offered, most wanted first. */
  readonly alpn: readonly string[];
  /** After so long without an answer the next address is dialled too; 100 to 2,000, default 250. */
  readonly attemptDelayMs?: number | undefined;
}

/**
 * Connects to whichever address of a name answers first: at most eight, interleaved by family, the next one after
 * `attemptDelayMs` or as soon as the youngest dial has failed. Others are destroyed. It looks like one {@link Socket}: what is
 * written before `opened` waits, `closed` comes once. When all fail, its error is that of the address that came furthest, and its text
 * names up to four with their reasons. A Unix path and an address literal are dialled as they are.
 *
 * How long all of it may take is the owner's to bound, by `destroy`. Throws a RangeError for a delay out of its range.
 */
export function connectRacing(
  world: World,
  address: SocketAddress,
  options: RacingOptions,
  events: SocketEvents,
): Socket {
  const { tls, alpn, attemptDelayMs = ATTEMPT_DELAY_MS } = options;
  if (!(attemptDelayMs >= ATTEMPT_DELAY_MS_MIN && attemptDelayMs <= ATTEMPT_DELAY_MS_MAX)) {
    throw new RangeError(
      `attemptDelayMs must be ${ATTEMPT_DELAY_MS_MIN}..${ATTEMPT_DELAY_MS_MAX}, got ${attemptDelayMs}`,
    );
  }
  if (address.kind === "unix" || isAddressLiteral(address.host)) {
    return world.network.connect(address, { tls, alpn }, events);
  }
  const race = new Race(world, address, { tls, alpn, name: address.host }, attemptDelayMs, events);
  race.start();
  return race;
}

/**
 * The addresses to dial, in order: the families take turns, the one of the first address begins (RFC 8305, section 4, with a First
 * Address Family Count of 1), and within a family the resolver's order holds. None twice, at most eight.
 */
export function dialOrder(addresses: readonly string[]): readonly string[] {
  const distinct = [...new Set(addresses)];
  const isFirstV6 = distinct[0]?.includes(":") === true;
  const firstFamily = distinct.filter((address) => address.includes(":") === isFirstV6);
  const otherFamily = distinct.filter((address) => address.includes(":") !== isFirstV6);
  const order: string[] = [];
  for (let at = 0; at < firstFamily.length || at < otherFamily.length; at++) {
    order.push(...firstFamily.slice(at, at + 1), ...otherFamily.slice(at, at + 1));
  }
  return order.slice(0, ADDRESSES_MAX);
}

type TcpAddress = SocketAddress & { readonly kind: "tcp" };

/** An address that failed, and why. */
interface Failure {
  readonly address: TcpAddress;
  readonly error: NetworkError;
}

/** One dial of a race. After it has won, what its socket tells is what the owner is told. */
class Entrant implements SocketEvents {
  readonly address: TcpAddress;
  socket: Socket | undefined;
  readonly #race: Race;

  constructor(race: Race, address: TcpAddress) {
    this.address = address;
    this.socket = undefined;
    this.#race = race;
  }

  opened(): void {
    this.#race.entrantOpened(this);
  }
  data(bytes: Buffer): void {
    this.#race.events.data(bytes);
  }
  drained(): void {
    this.#race.events.drained();
  }
  ended(): void {
    this.#race.events.ended();
  }
  closed(error: NetworkError | undefined): void {
    this.#race.entrantClosed(this, error);
  }
}

class Race implements Socket {
  readonly events: SocketEvents;
  readonly #world: World;
  readonly #target: TcpAddress;
  readonly #options: ConnectOptions;
  readonly #attemptDelayMs: number;
  /** After a stall of our own the answers lie in the sockets: they are read before another address is dialled. */
  readonly #timers: Timers;
  /** Nobody listens to the answer any more, after this. */
  #cancelResolve: (() => void) | undefined;
  /** Not dialled yet, in order. */
  #waiting: readonly string[];
  #timer: Timer | undefined;
  /** Dials under way. */
  readonly #running: Set<Entrant>;
  /** The one whose failure starts the next dial at once. */
  #youngest: Entrant | undefined;
  readonly #failures: Failure[];
  #winner: Socket | undefined;
  /** Destroyed, failed or closed: nothing is told any more, but for a `closed` that is on its way. */
  #isOver: boolean;
  /** What `closed` will carry, when its owner's own handler threw. */
  #thrown: NetworkError | undefined;
  // What the owner asks for before there is a winner.
  #kept: Buffer[];
  #keptBytes: number;
  #isPaused: boolean;
  #isEnded: boolean;

  constructor(world: World, target: TcpAddress, options: ConnectOptions, attemptDelayMs: number, events: SocketEvents) {
    this.events = events;
    this.#world = world;
    this.#target = target;
    this.#options = options;
    this.#attemptDelayMs = attemptDelayMs;
    this.#timers = patientTimers(world.clock, world.timers);
    this.#cancelResolve = undefined;
    this.#waiting = [];
    this.#timer = undefined;
    this.#running = new Set();
    this.#youngest = undefined;
    this.#failures = [];
    this.#winner = undefined;
    this.#isOver = false;
    this.#thrown = undefined;
    this.#kept = [];
    this.#keptBytes = 0;
    this.#isPaused = false;
    this.#isEnded = false;
  }

  start(): void {
    this.#cancelResolve = this.#world.network.resolve(this.#target.host, (result) => this.#resolved(result));
  }

  // ------------------------------------------------------------------------------------------------ for the owner

  get queuedBytes(): number {
    return this.#winner?.queuedBytes ?? this.#keptBytes;
  }
  get localAddress(): string {
    return this.#winner?.localAddress ?? "";
  }
  get remoteAddress(): string {
    return this.#winner?.remoteAddress ?? addressText(this.#target);
  }
  get tls(): TlsFacts | undefined {
    return this.#winner?.tls;
  }
  write(bytes: Buffer): void {
    if (this.#winner !== undefined) this.#winner.write(bytes);
    else this.#keep(bytes);
  }
  writeAll(chunks: readonly Buffer[], spent?: readonly Buffer[]): void {
    if (this.#winner !== undefined) this.#winner.writeAll(chunks, spent);
    else for (const bytes of chunks) this.#keep(bytes);
  }
  pause(): void {
    this.#isPaused = true;
    this.#winner?.pause();
  }
  resume(): void {
    this.#isPaused = false;
    this.#winner?.resume();
  }
  end(): void {
    this.#isEnded = true;
    this.#winner?.end();
  }
  destroy(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#winner !== undefined) {
      this.#winner.destroy();
      return;
    }
    this.#kept = [];
    this.#keptBytes = 0;
    this.#stopAll();
    this.#world.timers.afterTurn(() => this.events.closed(undefined));
  }

  // --------------------------------------------------------------------------------------------- for the entrants

  entrantOpened(entrant: Entrant): void {
    const { socket } = entrant;
    if (this.#isOver || this.#winner !== undefined || socket === undefined) {
      socket?.destroy();
      return;
    }
    this.#winner = socket;
    this.#running.delete(entrant);
    this.#stopAll();
    this.#handOver(socket);
    this.events.opened();
  }

  entrantClosed(entrant: Entrant, error: NetworkError | undefined): void {
    if (this.#winner !== undefined && this.#winner === entrant.socket) {
      this.#isOver = true;
      this.events.closed(this.#thrown ?? error);
      return;
    }
    this.#running.delete(entrant);
    if (this.#isOver || this.#winner !== undefined) return;
    this.#failures.push({ address: entrant.address, error: error ?? closedEarly(entrant.address) });
    if (entrant === this.#youngest || this.#running.size === 0) this.#dialNext();
  }

  // ------------------------------------------------------------------------------------------------------- private

  #resolved(result: ResolveResult): void {
    this.#cancelResolve = undefined;
    // A look-up that cannot be cancelled may answer all the same.
    if (this.#isOver) return;
    if ("error" in result) {
      this.#fail(withTarget(result.error, this.#target));
      return;
    }
    this.#waiting = dialOrder(result.addresses);
    this.#dialNext();
  }

  /** Dials the next address, or gives up if there is none and nobody runs. */
  #dialNext(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const [host, ...rest] = this.#waiting;
    if (host === undefined) {
      if (this.#running.size === 0) this.#fail(failureOf(this.#target, this.#failures));
      return;
    }
    this.#waiting = rest;
    const entrant = new Entrant(this, { kind: "tcp", host, port: this.#target.port });
    this.#youngest = entrant;
    this.#running.add(entrant);
    entrant.socket = this.#world.network.connect(entrant.address, this.#options, entrant);
    if (rest.length > 0) {
      this.#timer = this.#timers.schedule(this.#attemptDelayMs, () => this.#dialNext());
    }
  }

  #fail(error: NetworkError): void {
    this.#isOver = true;
    this.#kept = [];
    this.#keptBytes = 0;
    this.events.closed(error);
  }

  /** Ends the question, the timer and all dials under way. */
  #stopAll(): void {
    this.#cancelResolve?.();
    this.#cancelResolve = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#waiting = [];
    for (const { socket } of this.#running) socket?.destroy();
    this.#running.clear();
  }

  #keep(bytes: Buffer): void {
    if (this.#isOver || this.#isEnded || bytes.length === 0) return;
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
  }

  /** The winner gets what was asked of the race, before its owner asks for more. */
  #handOver(winner: Socket): void {
    const kept = this.#kept;
    this.#kept = [];
    this.#keptBytes = 0;
    if (this.#isPaused) winner.pause();
    if (kept.length > 0) {
      winner.writeAll(kept);
      // Taken at once, the winner has nothing to tell of; but its owner has seen bytes queued.
      if (winner.queuedBytes === 0) this.#timers.afterTurn(() => this.#tellDrained());
    }
    if (this.#isEnded) winner.end();
  }

  #tellDrained(): void {
    // Bytes that wait now are younger: the winner tells when they have left.
    if (this.#isOver || this.queuedBytes > 0) return;
    try {
      this.events.drained();
    } catch (cause) {
      // As on a real socket: an owner that throws loses this socket, and no other.
      const words = cause instanceof Error ? cause.message : String(cause);
      const text = `${this.remoteAddress}: the socket's owner threw: ${words}`;
      this.#thrown = { phase: "open", code: HANDLER_THREW, text, cause };
      this.destroy();
    }
  }
}

/** An adapter says why a dial failed; one that does not must not leave the race without words. */
function closedEarly(address: TcpAddress): NetworkError {
  const text = `${addressText(address)}: closed before it was open`;
  return { phase: "connect", code: "ECONNRESET", text };
}

/** The one error of a race that nobody won: that of who came furthest (TLS is after connect), the last of these. */
function failureOf(target: TcpAddress, failures: readonly Failure[]): NetworkError {
  const inTls = failures.filter(({ error }) => error.phase === "tls");
  const furthest = (inTls.at(-1) ?? failures.at(-1))?.error;
  const name = addressText(target);
  if (furthest === undefined) return { phase: "resolve", code: "ENOTFOUND", text: `${name}: the name has no address` };
  if (failures.length === 1) return withTarget(furthest, target);
  const named = failures
    .slice(0, ADDRESSES_NAMED_MAX)
    .map(({ address, error }) => `${addressText(address)} ${error.code}`);
  const unnamed = failures.length - named.length;
  const more = unnamed > 0 ? ` and ${unnamed} more` : "";
  // A code of TLS says which rule was broken; its text says which name or date broke it.
  const words = furthest.phase === "tls" ? `; ${furthest.text}` : "";
  return { ...furthest, text: `no address of ${name} could be reached: ${named.join(", ")}${more}${words}` };
}

/** The same error, in words that name what its owner asked for. */
function withTarget(error: NetworkError, target: TcpAddress): NetworkError {
  const name = addressText(target);
  return error.text.includes(name) ? error : { ...error, text: `${name}: ${error.text}` };
}
