/**
 * Hot path: what a server does with a connection's calls: reads their headers, routes them, counts them.
 */
import type { CodeOrOk } from "../call/code.ts";
import type { RpcError } from "../call/error.ts";
import { CALL_ID_BYTES, mintCallId, readCallId, readTraceparent } from "../call/ids.ts";
import { Events } from "../call/event.ts";
import { isReservedName } from "../call/metadata-names.ts";
import type { Interceptor } from "../call/interceptor.ts";
import type { MethodInfo, Priority } from "../call/method.ts";
import type { Peer } from "../call/peer.ts";
import { CHECKSUM_UNREADABLE, readChecksum, readChecksumText } from "../wire/grpc/checksum.ts";
import type { Encoding } from "../wire/grpc/compression.ts";
import { acceptedEncodings } from "../wire/grpc/compression.ts";
import { parseTimeout, parseTimeoutBytes } from "../wire/grpc/timeout.ts";
import { type Field, type FieldSection, PSEUDO_METHOD, PSEUDO_PATH } from "../wire/http2/field.ts";
import type { FieldToken } from "../wire/http2/hpack-encoder.ts";
import { appendField, contentTypeOf, encodingIn, rawText } from "../wire/transport/header-reader.ts";
import {
  integrityCrc32,
  NAME_CALL_ID,
  NAME_CHECKSUM,
  NAME_CONTENT_TYPE,
  NAME_DEDUP,
  NAME_GRPC_ACCEPT_ENCODING,
  NAME_GRPC_ENCODING,
  NAME_GRPC_TIMEOUT,
  NAME_INTEGRITY,
  NAME_PREVIOUS_ATTEMPTS,
  NAME_PRIORITY,
  NAME_NESTED,
  NAME_REPEAT,
  NAME_TRACEPARENT,
  NAME_USER_AGENT,
  RAW_CALL_ID,
  RAW_CHECKSUM,
  RAW_TIMEOUT,
  RAW_TRACEPARENT,
} from "../wire/transport/names.ts";
import type { Runtime } from "../wire/transport/runtime.ts";
import type { ServerConnection, ServerConnectionOwner } from "../wire/transport/server-connection.ts";
import type { ServerExchange, Status } from "../wire/transport/server-exchange.ts";
import { type Principal as AdmittedPrincipal, Principals } from "../policy/protect/principal.ts";
import { RateLimit } from "../policy/protect/rate-limit.ts";
import { NOT_AGAIN, rankOf, type RefusalWhy } from "../policy/protect/refusal.ts";
import { AdmissionGate, COARSE_RETRY_MS, type GateOptions, refusalFor } from "./admission-gate.ts";
import type { ConnectionFacts } from "./connection-facts.ts";
import { Execution } from "./execution.ts";
import { type Authenticate, Identity } from "./identity.ts";
import { runIntercepted } from "./intercept.ts";
import type { Once } from "./once.ts";
import { recordOf } from "./record.ts";
import type { Route, Router } from "./router.ts";
import type { CheckedRule } from "./rule.ts";
import { ServerCall } from "./server-call.ts";

/** Handlers that outlived their deadline by far, before new calls are refused. */
const OVERDUE_CALLS_MAX = 1_000;

/** A field's slot says which route its path means, for this server. */
interface PathMemo {
  readonly core: ServerCore;
  readonly route: Route;
}

/** What a server was told, as far as calls are concerned. */
export interface CoreOptions {
  readonly interceptors: readonly Interceptor[];
  readonly messageBytesMax: number;
  readonly authenticate: Authenticate | undefined;
  readonly critical: CheckedRule | undefined;
  readonly admission: GateOptions | false;
}

export class ServerCore implements ServerConnectionOwner {
  readonly runtime: Runtime;
  readonly router: Router;
  readonly interceptors: readonly Interceptor[];
  readonly messageBytesMax: number;
  readonly events: Events;
  /** Keeps the first answers of methods with effect once; undefined without such methods. */
  once: Once | undefined;
  /** Which calls may begin; undefined: all. */
  readonly gate: AdmissionGate | undefined;
  readonly #principals: Principals;
  readonly #rate: RateLimit | undefined;
  readonly #identity: Identity;
  readonly #canAuthenticate: boolean;
  /** Nothing more is asked of who says that a call is critical. */
  readonly #isTrustEnough: boolean;
  readonly connections: Set<ServerConnection>;
  /** Kept calls whose callers have left, while their handlers go on for a repeat. */
  readonly detachedCalls: Set<ServerCall>;
  /** Calls whose handler has not ended. */
  openCalls: number;
  /** Connections that have any of them. */
  #busyConnections: number;
  finishedCalls: number;
  /** When the last call came to its end. */
  recordedAtMs: number;
  /** When the call that is about to end does, if that need not be looked up; NaN. */
  endsAtMs: number;
  /** What the last calls used, for the next ones. */
  #spare: Execution | undefined;
  overdueCalls: number;
  /** Calls that were refused before their handler, by why. */
  readonly refusedCalls: Record<string, number>;
  /** What every answer says of the server's health; undefined: nothing, it is well. */
  healthField: FieldToken | undefined;
  /** Reply streams whose headers go at the end of this turn. */
  readonly #heads: ServerCall[];
  readonly #sendHeads: () => void;
  #onIdle: (() => void) | undefined;

  constructor(runtime: Runtime, router: Router, options: CoreOptions) {
    this.runtime = runtime;
    this.router = router;
    this.interceptors = options.interceptors;
    this.messageBytesMax = options.messageBytesMax;
    this.events = new Events();
    this.once = undefined;
    const { admission } = options;
    this.gate = admission === false ? undefined : new AdmissionGate(admission, runtime);
    this.#rate = admission === false || admission.rate === undefined ? undefined : new RateLimit(admission.rate);
    this.#principals = new Principals();
    this.#identity = new Identity(options.authenticate, options.critical, runtime.world.clock);
    this.#canAuthenticate = options.authenticate !== undefined;
    this.#isTrustEnough = options.critical === undefined;
    this.connections = new Set();
    this.detachedCalls = new Set();
    this.openCalls = 0;
    this.#busyConnections = 0;
    this.finishedCalls = 0;
    this.recordedAtMs = Number.NaN;
    this.endsAtMs = Number.NaN;
    this.#spare = undefined;
    this.overdueCalls = 0;
    this.refusedCalls = {};
    this.healthField = undefined;
    this.#heads = [];
    this.#sendHeads = () => {
      for (let i = 0; i < this.#heads.length; i++) {
        const call = this.#heads[i] as ServerCall;
        try {
          call.sendHead();
        } catch (error) {
          call.fail(error);
        }
      }
      this.#heads.length = 0;
    };
    this.#onIdle = undefined;
  }

  callArrived(exchange: ServerExchange, section: FieldSection, ends: boolean): void {
    let route: Route | undefined;
    let path: Field | undefined;
    let contentType: Field | undefined;
    let isPost = false;
    let timeoutMs = Infinity;
    let encoding: Encoding | undefined = "identity";
    let unknownEncoding = "";
    let accepts: string | undefined;
    let priority: string | undefined;
    let mayRepeat = true;
    let isRepeat = false;
    let store: string | undefined;
    let isNested = false;
    let isChecking = false;
    let checksum: number | undefined;
    let pairs: (string | Uint8Array)[] | undefined;
    let badName = "";
    for (let i = 0; i < section.count; i++) {
      const field = section.fields[i] as Field;
      switch (field.nameId) {
        case PSEUDO_PATH:
          path = field;
          route = this.#routeOf(field);
          break;
        case PSEUDO_METHOD:
          isPost = field.value === "POST";
          break;
        case NAME_CONTENT_TYPE:
          contentType = field;
          break;
        case NAME_GRPC_ENCODING:
          encoding = encodingIn(field);
          if (encoding === undefined) unknownEncoding = field.value;
          break;
        case NAME_GRPC_ACCEPT_ENCODING:
          accepts = field.value;
          break;
        case NAME_GRPC_TIMEOUT:
          timeoutMs = parseTimeout(field.value) ?? Number.NaN;
          break;
        case NAME_PRIORITY:
          priority = field.value;
          break;
        case NAME_REPEAT:
          if (field.value === "no") mayRepeat = false;
          break;
        case NAME_INTEGRITY:
          isChecking = field.value === integrityCrc32.value;
          break;
        case NAME_CHECKSUM:
          checksum = checksum === undefined ? readChecksumText(field.value) : CHECKSUM_UNREADABLE;
          break;
        case NAME_DEDUP:
          store = field.value;
          break;
        case NAME_PREVIOUS_ATTEMPTS:
          isRepeat = true;
          break;
        case NAME_NESTED:
          isNested = true;
          break;
        case NAME_TRACEPARENT:
        case NAME_CALL_ID:
          break;
        case NAME_USER_AGENT:
          break;
        default:
          if (field.nameId >= 0 && field.nameId < NAME_CONTENT_TYPE) break;
          // What Holdfast and gRPC say of a call is no metadata, and none of it is believed that is not read above.
          if (isReservedName(field.name)) break;
          pairs ??= [];
          if (!appendField(pairs, field.name, field.value)) badName = field.name;
      }
    }
    const rawTimeoutEnd = section.rawEnd[RAW_TIMEOUT] as number;
    if (rawTimeoutEnd !== 0) {
      timeoutMs = parseTimeoutBytes(section.rawBytes, section.rawStart[RAW_TIMEOUT] as number, rawTimeoutEnd);
    }
    const checksumEnd = section.rawEnd[RAW_CHECKSUM] as number;
    if (checksumEnd !== 0) {
      const start = section.rawStart[RAW_CHECKSUM] as number;
      checksum = checksum === undefined ? readChecksum(section.rawBytes, start, checksumEnd) : CHECKSUM_UNREADABLE;
    }
    if (contentType === undefined || contentTypeOf(contentType) === undefined) return exchange.answerHttp(415);
    if (!isPost) return exchange.answerHttp(405);
    if (section.isTruncated) return refuse(exchange, "RESOURCE_EXHAUSTED", "the request's metadata is over the limit");
    const facts = exchange.connection.facts as ConnectionFacts;
    if (route === undefined || (route.isLocalOnly && !facts.door.isLocal)) return this.#unknown(exchange, path);
    if (contentTypeOf(contentType) !== "proto") return exchange.answerHttp(415);
    if (Number.isNaN(timeoutMs)) return refuse(exchange, "INTERNAL", "grpc-timeout is malformed");
    if (encoding === undefined) {
      exchange.offersEncodings = true;
      return refuse(exchange, "UNIMPLEMENTED", `the encoding "${unknownEncoding}" is not known here`);
    }
    if (badName !== "") return refuse(exchange, "INTERNAL", `metadata "${badName}" is no base64`);
    // Health and the others run no handler of the application: they answer when it is stuck.
    if (this.overdueCalls >= OVERDUE_CALLS_MAX && !route.isBuiltIn) {
      return this.#refuseOverload(exchange, route, priority, "overdue", isRepeat || store !== undefined);
    }
    // Of calls from elsewhere nothing is known of who waits for them.
    isNested &&= facts.door.isInProcess;
    if (!isNested && this.#isShed(exchange, route, priority, isRepeat || store !== undefined)) return;
    exchange.requestEncoding = encoding;
    if (encoding !== "identity") {
      exchange.replyEncoding =
        accepts === undefined || acceptedEncodings(accepts).includes(encoding) ? encoding : undefined;
    }
    if (isChecking) {
      exchange.offersChecksums = true;
      exchange.givesChecksum = !route.isReplyStream;
    }
    if (!route.isRequestStream) exchange.requestChecksum = checksum;
    const call = new ServerCall(this, exchange, route, exchange.connection.receivedAtMs);
    call.requestPairs = pairs;
    if (priority === "critical" || priority === "sheddable") call.priority = priority;
    call.mayRepeat = mayRepeat;
    call.isRepeat = isRepeat || store !== undefined;
    call.namesStore = store !== undefined;
    call.isNested = isNested;
    this.#readIds(call, section);
    if (this.once !== undefined && call.hasId) exchange.announcement = this.once.announcement;
    if (store !== undefined && (store !== this.once?.store.storeId || !call.isKept)) return refuseOther(exchange);
    route.figures.started += 1;
    facts.started += 1;
    call.begin(timeoutMs, ends);
  }

  /** Who calls, and may they? True: they may, now. False: the call was refused, or hears `identified`. */
  identify(call: ServerCall): boolean {
    const { facts } = call;
    const { rule } = call.route;
    const isOpen = rule === undefined ? !facts.door.asksCertificates : rule.kind === "anyone";
    if (
      isOpen &&
      !this.#canAuthenticate &&
      (call.priority !== "critical" || (facts.isTrusted && this.#isTrustEnough))
    ) {
      call.principal = facts.certified;
      return true;
    }
    return call.route.isBuiltIn || this.#identity.identify(call, facts);
  }

  /** A call has come to its end for its caller. */
  record(call: ServerCall, code: CodeOrOk, error: RpcError | undefined): void {
    const { facts } = call;
    const nowMs = this.endsAtMs >= 0 ? this.endsAtMs : this.runtime.world.clock.monotonicMs();
    this.endsAtMs = Number.NaN;
    this.recordedAtMs = nowMs;
    if (code === "OK") facts.succeeded += 1;
    else facts.failed += 1;
    call.route.figures.ended(code, nowMs, nowMs - call.arrivedMs);
    if (this.events.hears("call.ended"))
      this.events.emit("call.ended", nowMs, { record: recordOf(call, code, error, nowMs) });
  }

  /** Whether a call, whose answer is not kept, may go to its handler without a look at what else runs: it would be let in, and nobody is to wait for it. */
  passesUnmeasured(call: ServerCall): boolean {
    const { gate } = this;
    if (gate === undefined || this.#rate !== undefined) return false;
    return gate.admission.passes(call.route.handlerFigures, call.deadlineMs, call.exchange.connection.receivedAtMs);
  }

  /** The way to the handler, for a call without interceptors. */
  executionOf(call: ServerCall): Execution {
    const spare = this.#spare;
    if (spare === undefined) return new Execution(call, call);
    this.#spare = undefined;
    return spare.reuse(call, call);
  }
  /** Nobody holds it any more. */
  executionDone(execution: Execution): void {
    this.#spare = execution;
  }

  connectionClosed(connection: ServerConnection): void {
    this.connections.delete(connection);
    this.#checkIdle();
  }

  callBegan(call: ServerCall): void {
    this.openCalls += 1;
    if (call.facts.open++ === 0) this.#busyConnections += 1;
    this.gate?.wanted();
  }
  callEnded(call: ServerCall): void {
    this.openCalls -= 1;
    if (--call.facts.open === 0) this.#busyConnections -= 1;
    this.finishedCalls += 1;
  }
  /** A reply stream's headers are to go at the end of this turn, with what the handler sets until then. */
  headDue(call: ServerCall): void {
    if (call.isOver || call.exchange.hasSentHead) return;
    if (this.#heads.push(call) === 1) this.runtime.world.timers.afterTurn(this.#sendHeads);
  }

  /** The calls that have no answer yet. For rare events: it walks all connections. */
  unanswered(): ServerCall[] {
    const found: ServerCall[] = [];
    for (const connection of this.connections) {
      for (const exchange of connection.exchanges()) {
        if (exchange.owner instanceof ServerCall && !exchange.owner.isOver) found.push(exchange.owner);
      }
    }
    return found;
  }
  callDetached(call: ServerCall): void {
    this.detachedCalls.add(call);
  }
  /** Its handler has ended, or was told to and is not waited for any longer. */
  callNoLongerDetached(call: ServerCall): void {
    if (this.detachedCalls.delete(call)) this.#checkIdle();
  }
  callOverdue(): void {
    this.overdueCalls += 1;
  }
  callNoLongerOverdue(): void {
    this.overdueCalls -= 1;
  }

  /** Tells once, when no connection is left, and no handler goes on for a repeat. */
  onIdle(listener: () => void): void {
    this.#onIdle = listener;
    this.#checkIdle();
  }

  /** On whose behalf a call is made, as far as admission asks: its principal, or its connection where nobody is known. */
  admittedPrincipalOf(call: ServerCall): AdmittedPrincipal {
    const { principal, facts } = call;
    if (principal !== undefined && principal !== facts.certified) return this.#principals.of(principal.id);
    facts.admitted ??= this.#principals.of(principal?.id ?? facts.peer.address);
    return facts.admitted;
  }

  /** For how long a principal has no call left by its rate; 0: this one is taken. */
  overRateMs(principal: AdmittedPrincipal): number {
    return this.#rate === undefined ? 0 : this.#rate.take(principal.key, this.runtime.world.clock.monotonicMs());
  }

  /** It was not let in. */
  admissionRefused(method: MethodInfo, priority: Priority, why: RefusalWhy): void {
    this.refusedCalls[why] = (this.refusedCalls[why] ?? 0) + 1;
    if (!this.events.hears("admission.refused")) return;
    this.events.emit("admission.refused", this.runtime.world.clock.monotonicMs(), { method, priority, why });
  }

  /** Whether the loop is so late that a call is refused before anything of it is looked at; then it was. */
  #isShed(exchange: ServerExchange, route: Route, given: string | undefined, isRepeat: boolean): boolean {
    const { gate } = this;
    if (gate === undefined || route.isBuiltIn || !gate.isLate) return false;
    const facts = exchange.connection.facts as ConnectionFacts;
    const rank = rankOf(priorityIn(given, facts));
    const why = gate.sheds(rank, facts.open, this.openCalls, this.#busyConnections);
    if (why === undefined) return false;
    this.#refuseOverload(exchange, route, given, why, isRepeat);
    return true;
  }

  /** Refuses before there is a call. */
  #refuseOverload(
    exchange: ServerExchange,
    route: Route,
    given: string | undefined,
    why: RefusalWhy,
    isRepeat: boolean,
  ): void {
    this.admissionRefused(route.plan.info, priorityIn(given, exchange.connection.facts as ConnectionFacts), why);
    const { code, text, retryAfterMs, isNotRun, reason } = refusalFor(why, isRepeat ? NOT_AGAIN : COARSE_RETRY_MS);
    route.figures.refused(code);
    exchange.end({ code, text, metadata: undefined, details: undefined, retryAfterMs, isNotRun, reason });
    exchange.release();
  }

  intercept(call: ServerCall): void {
    runIntercepted(call);
  }

  peerOf(connection: ServerConnection): Peer {
    return (connection.facts as ConnectionFacts).peer;
  }

  #routeOf(field: Field): Route | undefined {
    const memo = field.slot as PathMemo | undefined;
    if (memo !== undefined && memo.core === this) return memo.route;
    const route = this.router.find(field.value);
    // A miss is not remembered: the service may be added while the connection lives.
    if (route !== undefined) field.slot = { core: this, route } satisfies PathMemo;
    return route;
  }

  #unknown(exchange: ServerExchange, path: Field | undefined): void {
    const text = path?.value ?? "";
    const what = this.router.hasService(text) ? "method" : "service";
    refuse(exchange, "UNIMPLEMENTED", `${what} of ${text} is not known here`);
  }

  #readIds(call: ServerCall, section: FieldSection): void {
    const traceEnd = section.rawEnd[RAW_TRACEPARENT] as number;
    if (traceEnd !== 0) {
      readTraceparent(section.rawBytes, section.rawStart[RAW_TRACEPARENT] as number, traceEnd, call);
    } else {
      const text = rawText(section, RAW_TRACEPARENT, NAME_TRACEPARENT);
      if (text !== undefined) readTraceparent(Buffer.from(text, "latin1"), 0, text.length, call);
    }
    const idEnd = section.rawEnd[RAW_CALL_ID] as number;
    const idStart = section.rawStart[RAW_CALL_ID] as number;
    if (idEnd - idStart === CALL_ID_BYTES && idEnd !== 0) {
      // Kept as words: most handlers never ask for the text.
      if (readCallId(section.rawBytes, idStart, call)) {
        call.hasId = true;
        call.hasWords = true;
        return;
      }
    }
    const text = rawText(section, RAW_CALL_ID, NAME_CALL_ID);
    call.hasId = text !== undefined;
    if (text === undefined) mintCallId(this.runtime.world, call);
    // A proxy may have encoded it anew, by Huffman's code: it says when it was made all the same.
    else if (text.length === CALL_ID_BYTES && readCallId(Buffer.from(text, "latin1"), 0, call)) call.hasWords = true;
    else call.idText = text;
  }

  #checkIdle(): void {
    if (this.#onIdle === undefined || this.connections.size > 0 || this.detachedCalls.size > 0) return;
    const listener = this.#onIdle;
    this.#onIdle = undefined;
    listener();
  }
}

/** What a call says of its priority, as far as it is believed before anybody has asked who calls. */
function priorityIn(given: string | undefined, { isTrusted }: ConnectionFacts): Priority {
  if (given === "sheddable") return "sheddable";
  return given === "critical" && isTrusted ? "critical" : "normal";
}

/** The call may have been done where another store would know of it, or none does: here it cannot be found out, and is not run. */
function refuseOther(exchange: ServerExchange): void {
  const text = "the call may have been done, and this server has not the store that would know of it";
  exchange.end({
    code: "ABORTED",
    text,
    metadata: undefined,
    details: undefined,
    retryAfterMs: undefined,
    isNotRun: true,
    reason: "OUTCOME_UNKNOWN",
  });
  exchange.release();
}

function refuse(exchange: ServerExchange, code: Status["code"], text: string): void {
  exchange.end({ code, text, metadata: undefined, details: undefined, retryAfterMs: undefined, isNotRun: true });
  exchange.release();
}
