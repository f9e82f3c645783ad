/**
 * A peer on a simulated host that keeps first answers, honestly or not, as a test scripts it, one line for each request. It stands on
 * the HTTP/2 engine alone, so that it can say what no server of ours would.
 */
import type { Simulation } from "holdfast/testing";
import type { Field, FieldSection } from "../../src/wire/http2/field.ts";
import type { HpackEncoder } from "../../src/wire/http2/hpack-encoder.ts";
import { DEFAULT_HTTP2_LIMITS } from "../../src/wire/http2/limits.ts";
import type { HeaderSource, Http2Stream } from "../../src/wire/http2/stream.ts";
import { Connection, type StreamOwner } from "../../src/wire/transport/connection.ts";
import { rawText } from "../../src/wire/transport/header-reader.ts";
import { NAME_CALL_ID, NAME_DEDUP, NAME_REPEAT, RAW_CALL_ID } from "../../src/wire/transport/names.ts";
import { runtimeOf } from "../../src/wire/transport/runtime.ts";
import type { Socket } from "../../src/world/network.ts";
import type { World } from "../../src/world/world.ts";

export type Fields = Readonly<Record<string, string>>;

/**
 * What becomes of a request that is run or found: its answer; that of a handler that failed, kept too; none, for the connection is cut,
 * the stream is reset, or it hangs; what a proxy says in its stead, without having run it or after.
 */
export type DedupLine =
  | "answer"
  | "lose"
  | "hang"
  | "reset"
  | "crash"
  | { readonly fails: Fields }
  | { readonly refuses: Fields }
  | { readonly isProxied: Fields };

/** What answers requests: its store may outlive the process, and be shared with other peers. */
export interface DedupScript {
  /** What it announces, in these words; undefined: nothing. Asked for each answer. */
  readonly announces: (boot: number) => string | undefined;
  /** The ids that it was asked for already. One for each boot (scope process) or one for all. */
  readonly kept: (boot: number) => Set<string>;
  /** Lines for the next requests; "answer" when there are none. */
  readonly lines: DedupLine[];
  /** Behind its address there is a process for each connection, which counts as a boot. */
  readonly isBalancer?: boolean;
  /** It takes no notice of `holdfast-dedup`, as a server of another kind. */
  readonly isForeign?: boolean;
}

export interface DedupRequest {
  readonly host: string;
  readonly boot: number;
  readonly callId: string;
  /** `holdfast-dedup` of the request. */
  readonly asks: string | undefined;
  readonly isRepeat: boolean;
}

/** What all peers of a test were asked, and what they ran. */
export interface DedupLog {
  readonly requests: DedupRequest[];
  /** Each time a handler ran: the call's id. */
  readonly effects: string[];
}

const OK = { "grpc-status": "0" };
const EMPTY = Buffer.alloc(5);

/** Lets a host serve by this script, from each of its boots on. */
export function bootDedupPeer(simulation: Simulation, host: string, script: DedupScript, log: DedupLog): void {
  let boots = 0;
  simulation.boot(host, (world) => {
    boots += 1;
    const crash = (): void => simulation.crash(host);
    return world.network.listen({
      address: { kind: "tcp", host: "0.0.0.0", port: 50_051 },
      tls: undefined,
      alpn: [],
      handshakeTimeoutMs: 1_000,
      accept: (socket) => {
        if (script.isBalancer === true) boots += 1;
        return new PeerConnection(world, socket, { host, boot: boots, script, log, crash });
      },
      failed: () => {},
    });
  });
}

interface PeerFacts {
  readonly host: string;
  readonly boot: number;
  readonly script: DedupScript;
  readonly log: DedupLog;
  readonly crash: () => void;
}

class PeerConnection extends Connection {
  readonly facts: PeerFacts;

  constructor(world: World, socket: Socket, facts: PeerFacts) {
    super(runtimeOf(world), "server", DEFAULT_HTTP2_LIMITS);
    this.facts = facts;
    this.socket = socket;
    this.engine.start();
    this.scheduleFlush();
  }
  opened(): void {}
  protected streamOpened(stream: Http2Stream, section: FieldSection, _ends: boolean): void {
    stream.owner = new PeerStream(this, stream, section);
  }
  protected settingsArrived(): void {}
  protected pingAnswered(): void {}
  protected goAwayArrived(): void {}
  protected connectionClosed(): void {}
  protected turnRead(): void {}
}

class PeerStream implements StreamOwner {
  readonly #connection: PeerConnection;
  readonly #stream: Http2Stream;
  readonly #request: DedupRequest;

  constructor(connection: PeerConnection, stream: Http2Stream, section: FieldSection) {
    const { host, boot } = connection.facts;
    const value = (id: number): string | undefined =>
      section.fields.slice(0, section.count).find(({ nameId }: Field) => nameId === id)?.value;
    this.#connection = connection;
    this.#stream = stream;
    this.#request = {
      host,
      boot,
      callId: rawText(section, RAW_CALL_ID, NAME_CALL_ID) ?? "",
      asks: value(NAME_DEDUP),
      isRepeat: value(NAME_REPEAT) !== undefined,
    };
  }

  onHeaders(): void {}
  onReset(): void {}
  onWritable(): void {}
  onData(_bytes: Buffer, start: number, end: number, ends: boolean): void {
    this.#connection.consumed(this.#stream, end - start);
    if (ends) this.#serve();
  }

  #serve(): void {
    const { script, log, boot, crash } = this.#connection.facts;
    const { callId, asks } = this.#request;
    log.requests.push(this.#request);
    const announced = script.announces(boot);
    const head: Fields = announced === undefined ? {} : { "holdfast-dedup": announced };
    const storeId = announced?.split(" ")[0];
    if (script.isForeign !== true && asks !== undefined && asks !== storeId) {
      this.#status({ ...head, "grpc-status": "10", "holdfast-not-run": "1", "holdfast-reason": "OUTCOME_UNKNOWN" });
      return;
    }
    const line = script.lines.shift() ?? "answer";
    if (typeof line === "object" && "refuses" in line) {
      this.#status({ ...head, ...line.refuses });
      return;
    }
    const kept = script.kept(boot);
    const isKept = kept.has(callId);
    if (!isKept) log.effects.push(callId);
    if (script.isForeign !== true) kept.add(callId);
    if (line === "answer") this.#reply(isKept ? { ...head, "holdfast-deduplicated": "1" } : head);
    else if (line === "lose") this.#connection.destroy("scripted");
    else if (line === "crash") crash();
    else if (line === "reset") this.#reset();
    else if (line === "hang") return;
    else if ("fails" in line) this.#status({ ...head, ...line.fails });
    else this.#status(line.isProxied);
  }

  #reply(head: Fields): void {
    const { engine } = this.#connection;
    engine.sendHeaders(
      this.#stream,
      new Section({ ":status": "200", "content-type": "application/grpc", ...head }),
      false,
    );
    engine.sendData(this.#stream, EMPTY, false);
    engine.sendTrailers(this.#stream, new Section(OK));
    this.#end();
  }

  #status(fields: Fields): void {
    const section = new Section({ ":status": "200", "content-type": "application/grpc", ...fields });
    this.#connection.engine.sendHeaders(this.#stream, section, true);
    this.#end();
  }

  #reset(): void {
    this.#connection.engine.reset(this.#stream, 2);
    this.#end();
  }

  #end(): void {
    this.#connection.engine.release(this.#stream);
    this.#connection.scheduleFlush();
  }
}

class Section implements HeaderSource {
  readonly #fields: Fields;
  constructor(fields: Fields) {
    this.#fields = fields;
  }
  headerBytesMax(): number {
    return 2_048;
  }
  encodeHeaders(encoder: HpackEncoder, out: Buffer, start: number): number {
    return Object.entries(this.#fields).reduce((at, [name, value]) => encoder.field(name, value, out, at), start);
  }
}
