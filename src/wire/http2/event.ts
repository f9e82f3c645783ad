/**
 * Hot path: what the engine tells, as a list of plain columns instead of an object per event.
 *
 * The engine appends while it reads; the shell walks the list after `receive` has returned, so the engine is never
 * re-entered from its own callbacks. DATA events point into the received chunk, which lives until the shell has walked the
 * list; field sections belong to the list and are valid until `clear`.
 */
import { type FieldNames, FieldSection } from "./field.ts";
import type { Http2Stream } from "./stream.ts";

/** A header section: `section(i)`, a = 1 if it ends the stream. On a server the first one of a stream opens it. */
export const EVENT_HEADERS = 0;
/** Payload `bytes(i)`[a, b), and `flags[i]` = 1 if it ends the stream. */
export const EVENT_DATA = 1;
/** The peer reset the stream: a = error code. */
export const EVENT_RESET = 2;
/** The stream's send queue has emptied after it was not empty. */
export const EVENT_WRITABLE = 3;
/** We reset the stream because of what the peer sent: a = error code, `text(i)` why. */
export const EVENT_STREAM_ERROR = 4;
/** The peer's SETTINGS were applied. */
export const EVENT_SETTINGS = 5;
/** A PING of ours was answered: a = its number. */
export const EVENT_PING_ACK = 6;
/** The peer sent GOAWAY: a = last stream id it will process, b = error code, `text(i)` its debug data. */
export const EVENT_GOAWAY = 7;
/** A client's stream above GOAWAY's last id: it never reached a handler. */
export const EVENT_UNPROCESSED = 8;
/** The connection is over because of the peer: a = error code of our GOAWAY, `text(i)` why. Always the last event. */
export const EVENT_CONNECTION_ERROR = 9;

export class EventList {
  length: number;
  readonly kinds: number[];
  readonly streams: (Http2Stream | undefined)[];
  readonly a: number[];
  readonly b: number[];
  readonly flags: number[];
  readonly refs: unknown[];
  readonly #names: FieldNames;
  readonly #sections: FieldSection[];
  #sectionsUsed: number;

  constructor(names: FieldNames) {
    this.length = 0;
    this.kinds = [];
    this.streams = [];
    this.a = [];
    this.b = [];
    this.flags = [];
    this.refs = [];
    this.#names = names;
    this.#sections = [];
    this.#sectionsUsed = 0;
  }

  push(kind: number, stream: Http2Stream | undefined, a: number, b: number, flags: number, ref: unknown): void {
    const i = this.length++;
    this.kinds[i] = kind;
    this.streams[i] = stream;
    this.a[i] = a;
    this.b[i] = b;
    this.flags[i] = flags;
    this.refs[i] = ref;
  }

  section(i: number): FieldSection {
    return this.refs[i] as FieldSection;
  }
  bytes(i: number): Buffer {
    return this.refs[i] as Buffer;
  }
  text(i: number): string {
    return this.refs[i] as string;
  }

  /** A cleared section, lent until `clear` or until it is given back by `returnSection`. */
  takeSection(): FieldSection {
    const i = this.#sectionsUsed++;
    let section = this.#sections[i];
    if (section === undefined) {
      section = new FieldSection(this.#names);
      this.#sections[i] = section;
    }
    section.clear();
    return section;
  }

  /** Gives back the section taken last. */
  returnSection(): void {
    this.#sectionsUsed -= 1;
  }

  /** Forgets all events and what they referred to. */
  clear(): void {
    for (let i = 0; i < this.length; i++) {
      this.streams[i] = undefined;
      this.refs[i] = undefined;
    }
    this.length = 0;
    for (let i = 0; i < this.#sectionsUsed; i++) (this.#sections[i] as FieldSection).clear();
    this.#sectionsUsed = 0;
  }
}
