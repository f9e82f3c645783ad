/**
 * Two engines joined by a pipe that loses nothing, and what must hold whatever they are asked to do. Payload bytes follow from
 * stream, direction and offset, so that each arriving byte shows whether it came in order and once.
 */
import assert from "node:assert/strict";
import {
  NO_ERROR,
  SETTING_HEADER_TABLE_SIZE,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTING_MAX_CONCURRENT_STREAMS,
  SETTING_MAX_FRAME_SIZE,
  STREAM_ID_MAX,
} from "../frame.ts";
import type { Http2Limits } from "../limits.ts";
import type { Http2Stream } from "../stream.ts";
import { DrivenEngine, type Seen } from "./driven-engine.ts";
import { REQUEST_FIELDS, RESPONSE_FIELDS, settings, sourceOf, TRAILER_FIELDS } from "./frame-script.ts";

export type SideName = "client" | "server";

/** One side of one stream. */
interface End {
  stream: Http2Stream;
  sent: number;
  received: number;
  consumed: number;
  hasEnded: boolean;
  hasSeenEnd: boolean;
  hasSentHead: boolean;
  /** By either side, seen from here. No event may come after it. */
  isReset: boolean;
  /** Reset before its answer's end: what was sent may be lost. A server's own reset after its early answer is none of that. */
  isCut: boolean;
  /** Payload had to wait, and nothing has said yet that it left. */
  isWaiting: boolean;
}

interface Side {
  readonly name: SideName;
  readonly driven: DrivenEngine;
  readonly ends: Map<number, End>;
  /** What the other side is to read. */
  pipe: Buffer;
  /** The INITIAL_WINDOW_SIZE that we announced last. */
  announcedWindow: number;
}

export class EnginePair {
  readonly client: Side;
  readonly server: Side;
  pingsSent: number[];
  pingsAnswered: number[];

  constructor(limits: Partial<Http2Limits> = {}) {
    // The windows that `announce` sets are not the engine's own, so that it must not set any.
    const fixed = { initialWindowMax: 65_535, ...limits };
    this.client = side("client", fixed);
    this.server = side("server", fixed);
    this.pingsSent = [];
    this.pingsAnswered = [];
    this.client.driven.engine.start();
    this.server.driven.engine.start();
    this.quiet();
  }

  side(name: SideName): Side {
    return this[name];
  }

  open(): void {
    const { driven, ends } = this.client;
    if (!driven.engine.canOpen) return;
    const stream = driven.open();
    ends.set(stream.id, endOf(stream));
    driven.engine.sendHeaders(stream, sourceOf([...REQUEST_FIELDS, ["x-call", String(stream.id)]]), false);
  }

  /** Sends payload on the n-th stream of a side, as far as its state allows. */
  send(name: SideName, n: number, length: number, finishes: boolean): void {
    const end = this.#sendable(name, n);
    if (end === undefined) return;
    const { driven } = this.side(name);
    this.#sendHead(name, end);
    const payload = pattern(end.stream.id, name, end.sent, length);
    end.sent += length;
    if (name === "client") {
      driven.engine.sendData(end.stream, payload, finishes);
    } else {
      driven.engine.sendData(end.stream, payload, false);
      if (finishes) driven.engine.sendTrailers(end.stream, sourceOf(TRAILER_FIELDS));
    }
    if (finishes) end.hasEnded = true;
    end.isWaiting = end.stream.queuedBytes > 0;
  }

  /** The same without a copy, where the windows have room, as unary calls are sent. */
  commit(name: SideName, n: number, length: number): void {
    const end = this.#sendable(name, n);
    if (end === undefined) return;
    const { engine } = this.side(name).driven;
    this.#sendHead(name, end);
    engine.output.reserve(9 + length);
    if (engine.dataRoom(end.stream) < length) return;
    engine.output.bytes.set(pattern(end.stream.id, name, end.sent, length), engine.output.at + 9);
    end.sent += length;
    engine.commitData(end.stream, length, false);
  }

  /** Ends the n-th stream of a side after what it has sent. */
  end(name: SideName, n: number): void {
    const end = this.#sendable(name, n);
    if (end !== undefined) this.#end(name, end);
  }

  reset(name: SideName, n: number): void {
    const end = nth(this.side(name), n);
    if (end === undefined || end.isReset || end.stream.isClosed) return;
    this.side(name).driven.engine.reset(end.stream, 8);
    end.isReset = true;
    end.isCut = true;
  }

  consume(name: SideName, n: number, most: number): void {
    const { driven, ends } = this.side(name);
    const end = [...ends.values()][n % Math.max(1, ends.size)];
    if (end === undefined) return;
    const count = Math.min(most, end.received - end.consumed);
    end.consumed += count;
    driven.engine.consume(end.stream, count, driven.nowMs);
  }

  /** The server's handler has ended. */
  release(n: number): void {
    const end = nth(this.server, n);
    if (end === undefined || !(end.isReset || end.hasEnded)) return;
    this.server.driven.engine.release(end.stream);
  }

  announce(name: SideName, what: "window" | "streams" | "table" | "frame", value: number): void {
    const from = this.side(name);
    this.flush(name);
    const entries: [number, number][] = [];
    if (what === "window") {
      entries.push([SETTING_INITIAL_WINDOW_SIZE, value & 1 ? value % 300 : value]);
      from.announcedWindow = entries[0]?.[1] as number;
    }
    if (what === "streams") entries.push([SETTING_MAX_CONCURRENT_STREAMS, value % 9]);
    if (what === "table") {
      entries.push([SETTING_HEADER_TABLE_SIZE, value % 200], [SETTING_HEADER_TABLE_SIZE, value % 5_000]);
    }
    if (what === "frame") entries.push([SETTING_MAX_FRAME_SIZE, 16_384]);
    from.pipe = Buffer.concat([from.pipe, settings(...entries)]);
  }

  ping(name: SideName): void {
    const number = this.pingsSent.length;
    this.pingsSent.push(number);
    this.side(name).driven.engine.ping(number);
  }

  /** First the announcement, then the final last id. */
  drain(): void {
    const { engine } = this.server.driven;
    engine.goAway(NO_ERROR, engine.hasSentGoAway ? engine.lastPeerId : STREAM_ID_MAX, "drain");
  }

  block(name: SideName, isBlocked: boolean): void {
    const { driven } = this.side(name);
    driven.engine.setBlocked(isBlocked, driven.list);
    this.#look(this.side(name));
  }

  /** Moves a side's output into its pipe, and lets go what the output's bound held back. */
  flush(name: SideName): void {
    const from = this.side(name);
    const { engine } = from.driven;
    assert.ok(engine.output.length <= 131_072 + 65_536 + 8_192, `${engine.output.length} bytes in the output`);
    from.pipe = Buffer.concat([from.pipe, from.driven.take()]);
    if (engine.hasPending) engine.pump(from.driven.list);
    this.#look(from);
  }

  /** The other side reads so many bytes of what `name` has sent. */
  deliver(name: SideName, count: number): void {
    const from = this.side(name);
    const to = this.side(name === "client" ? "server" : "client");
    const chunk = Buffer.from(from.pipe.subarray(0, count));
    from.pipe = from.pipe.subarray(chunk.length);
    const seen = to.driven.receive(chunk);
    for (const event of seen) this.#apply(to, event);
    this.check();
  }

  /** Everything sent has been read. */
  quiet(): void {
    const names: SideName[] = ["client", "server"];
    for (let isQuiet = false; !isQuiet; ) {
      isQuiet = true;
      for (const name of names) {
        this.flush(name);
        if (this.side(name).pipe.length > 0) {
          isQuiet = false;
          this.deliver(name, 1 << 20);
        }
      }
    }
  }

  /** What must hold at any moment. */
  check(): void {
    for (const { driven, ends } of [this.client, this.server]) {
      const { engine } = driven;
      assert.ok(!engine.isFailed, "no side may find fault with the other");
      assert.ok(engine.sendWindow >= 0 && engine.receiveCredit >= 0, "the connection's windows");
      assert.ok(engine.streams.count <= ends.size);
      for (const end of ends.values()) {
        assert.ok(end.stream.sendWindow >= -65_535, "only SETTINGS make a window negative");
        assert.ok(end.stream.receiveCredit >= 0);
        assert.ok(end.stream.receiveWindow <= engine.limits.streamWindowMax);
      }
      assert.ok(engine.receiveWindow <= engine.limits.connectionWindowMax);
    }
  }

  /** What must hold when all that was sent has been read. */
  checkAtRest(): void {
    const { client, server } = this;
    assert.equal(client.driven.engine.sendWindow, server.driven.engine.receiveCredit);
    assert.equal(server.driven.engine.sendWindow, client.driven.engine.receiveCredit);
    assert.equal(client.driven.engine.encoder.tableSize, server.driven.engine.decoder.tableSize);
    assert.equal(server.driven.engine.encoder.tableSize, client.driven.engine.decoder.tableSize);
    for (const [id, up] of client.ends) {
      const down = server.ends.get(id);
      if (down === undefined) continue;
      if (up.stream.isReset || down.stream.isReset) {
        assert.ok(up.stream.isClosed && down.stream.isClosed, `stream ${id}: reset here and open there`);
        continue;
      }
      assert.equal(up.stream.isLocalEnded, down.stream.isRemoteEnded, `stream ${id}: the request's end`);
      assert.equal(down.stream.isLocalEnded, up.stream.isRemoteEnded, `stream ${id}: the answer's end`);
      if (!down.stream.isRemoteEnded) {
        const shift = server.announcedWindow - 65_535;
        assert.equal(up.stream.sendWindow, down.stream.receiveCredit + shift, `stream ${id}: window up`);
      }
      if (!up.stream.isRemoteEnded) {
        const shift = client.announcedWindow - 65_535;
        assert.equal(down.stream.sendWindow, up.stream.receiveCredit + shift, `stream ${id}: window down`);
      }
    }
    for (const { ends } of [client, server]) {
      for (const { stream, isWaiting, hasEnded } of ends.values()) {
        const isTold = stream.isReset || hasEnded || isWaiting === stream.queuedBytes > 0;
        assert.ok(isTold, `stream ${stream.id}: told that it may send on`);
      }
    }
    assert.deepEqual(this.pingsAnswered.toSorted(byNumber), this.pingsSent);
  }

  /** Opens all windows, ends and reads everything, releases all, and asserts that nothing is left. */
  finish(): void {
    for (const name of ["client", "server"] as const) {
      this.block(name, false);
      this.announce(name, "window", 65_534);
    }
    this.#drainAll();
    for (const end of this.client.ends.values()) if (!end.isReset && !end.hasEnded) this.#end("client", end);
    this.#drainAll();
    for (const end of this.server.ends.values()) if (!end.isReset && !end.hasEnded) this.#end("server", end);
    this.#drainAll();
    this.checkAtRest();
    for (const end of this.server.ends.values()) this.server.driven.engine.release(end.stream);
    // A stream that needed a larger window may have left a SETTINGS frame for those to come.
    this.#drainAll();
    for (const [id, up] of this.client.ends) {
      const down = this.server.ends.get(id);
      if (up.isCut || down === undefined || down.isCut) continue;
      assert.deepEqual([up.received, up.hasSeenEnd], [down.sent, true], `stream ${id}: the answer`);
      if (down.stream.isReset) continue;
      assert.deepEqual([down.received, down.hasSeenEnd], [up.sent, true], `stream ${id}: the request`);
    }
    for (const { driven } of [this.client, this.server]) {
      const { engine, budget } = driven;
      assert.equal(engine.streams.count, 0);
      assert.deepEqual(engine.streams.all(), []);
      assert.equal(engine.hasPending, false);
      assert.equal(engine.queuedBytes, 0);
      assert.equal(engine.output.length, 0);
      assert.equal(budget.granted, 0, "streams have given their windows back");
      engine.dispose();
      assert.equal(budget.granted, 0);
    }
  }

  #end(name: SideName, end: End): void {
    const { engine } = this.side(name).driven;
    end.hasEnded = true;
    this.#sendHead(name, end);
    if (name === "client") engine.endStream(end.stream);
    else engine.sendTrailers(end.stream, sourceOf(TRAILER_FIELDS));
  }

  /** Reads and consumes until nothing moves. */
  #drainAll(): void {
    for (let before = -1, now = 0; before !== now; ) {
      before = now;
      this.quiet();
      for (const name of ["client", "server"] as const) {
        for (let n = 0; n < this.side(name).ends.size; n++) this.consume(name, n, Infinity);
      }
      this.quiet();
      now = 0;
      for (const { ends } of [this.client, this.server]) for (const end of ends.values()) now += end.received;
    }
  }

  #sendable(name: SideName, n: number): End | undefined {
    const end = nth(this.side(name), n);
    return end === undefined || end.isReset || end.hasEnded || end.stream.isClosed ? undefined : end;
  }

  #sendHead(name: SideName, end: End): void {
    if (name === "client" || end.hasSentHead) return;
    end.hasSentHead = true;
    this.server.driven.engine.sendHeaders(end.stream, sourceOf(RESPONSE_FIELDS), false);
  }

  #look(at: Side): void {
    const before = at.driven.seen.length;
    at.driven.record();
    for (const event of at.driven.seen.slice(before)) this.#apply(at, event);
    this.check();
  }

  #apply(at: Side, event: Seen): void {
    if (!("id" in event)) {
      if (event.kind === "ping-ack") this.pingsAnswered.push(event.number);
      assert.notEqual(event.kind, "connection-error", JSON.stringify(event));
      return;
    }
    if (event.kind === "headers" && at.name === "server" && !at.ends.has(event.id)) {
      const stream = at.driven.stream(event.id);
      stream.owner = event.id;
      at.ends.set(event.id, endOf(stream));
    }
    const end = at.ends.get(event.id) as End;
    assert.ok(!end.isReset, `an event after the reset: ${JSON.stringify(event)}`);
    assert.ok(!end.hasSeenEnd || event.kind === "reset" || event.kind === "writable", "an event after the end");
    if (event.kind === "data") {
      const from = at.name === "client" ? "server" : "client";
      const expected = pattern(event.id, from, end.received, event.text.length).toString("latin1");
      assert.ok(event.text === expected, `stream ${event.id}: bytes in order, once`);
      end.received += event.text.length;
    }
    if ((event.kind === "data" || event.kind === "headers") && event.ends) end.hasSeenEnd = true;
    if (event.kind === "reset" || event.kind === "unprocessed") {
      end.isReset = true;
      if (!end.hasSeenEnd || at.name === "server") end.isCut = true;
    }
    assert.notEqual(event.kind, "stream-error", JSON.stringify(event));
    if (event.kind === "writable") {
      assert.ok(end.isWaiting && end.stream.queuedBytes === 0, "the queue has emptied after it was not empty");
      end.isWaiting = false;
    }
  }
}

function side(name: SideName, limits: Partial<Http2Limits>): Side {
  // The pair pings as often as chance wants; how often a peer may is for other tests.
  const driven = new DrivenEngine(name, { pingStrikesMax: 1_000, ...limits });
  return { name, driven, ends: new Map(), pipe: Buffer.alloc(0), announcedWindow: 65_535 };
}

function endOf(stream: Http2Stream): End {
  return {
    stream,
    sent: 0,
    received: 0,
    consumed: 0,
    hasEnded: false,
    hasSeenEnd: false,
    hasSentHead: false,
    isReset: false,
    isCut: false,
    isWaiting: false,
  };
}

/** Streams that can still do something come first, so that a small number finds one. */
function nth(at: Side, n: number): End | undefined {
  const open = [...at.ends.values()].filter((end) => !end.isReset);
  return open[n % Math.max(1, open.length)];
}

function pattern(id: number, from: SideName, offset: number, length: number): Buffer {
  const start = id * 31 + (from === "client" ? 0 : 7) + offset;
  return Buffer.from(PATTERN.subarray(start % 251, (start % 251) + length));
}

/** Repeats after 251 bytes, so that a piece lost at any power of two shows. */
const PATTERN = Buffer.from(Array.from({ length: 400_000 }, (_, i) => i % 251));

const byNumber = (x: number, y: number): number => x - y;
