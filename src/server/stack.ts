/**
 * The server's stack as one ordered list, in the order in which a call meets it: each layer, where it is, and why it stands
 * there. Cheap refusals come first, the user's code last. A server that is not asked for a layer does not go through it.
 */

export interface Layer {
  readonly name: string;
  /** The file that holds it. */
  readonly file: string;
  readonly role: string;
  /** Why it stands here and not earlier or later. */
  readonly why: string;
}

export const serverStack: readonly Layer[] = Object.freeze([
  {
    name: "accept",
    file: "server/create-server.ts",
    role: "takes connections up to the limit, closes the rest",
    why: "before a byte is read: what is over the limit costs nothing else",
  },
  {
    name: "identity",
    file: "server/connection-facts.ts",
    role: "through which door a connection came, what its certificate says, and whether what it says of itself is believed",
    why: "once for a connection, when its TLS stands: no call pays for it, and nothing that a call says can change it",
  },
  {
    name: "limits",
    file: "wire/http2/receive.ts",
    role: "HTTP/2 and its limits",
    why: "before gRPC: abuse is counted where it happens",
  },
  {
    name: "headers",
    file: "server/server-core.ts",
    role: "content-type, path, timeout, encoding, metadata; refuses what is no call of ours",
    why: "before any object of the call exists",
  },
  {
    name: "trust",
    file: "server/server-core.ts",
    role: "drops what a caller says under holdfast-* and grpc-* names, but for the few words that are read here",
    why: "before anything acts on such a word: a stranger's critical is worth nothing to what follows",
  },
  {
    name: "shed",
    file: "server/admission-gate.ts",
    role: "refuses by the loop's delay, and by the connection's share: sheddable calls first, critical ones last",
    why: "before there is a call and before anybody is asked who it is from: whoever has no time must not spend it on tokens",
  },
  {
    name: "context",
    file: "server/server-call.ts",
    role: "call id, trace, deadline, priority",
    why: "everything after it, refusals too, belongs to a call with a name and a deadline",
  },
  {
    name: "record",
    file: "server/record.ts",
    role: "counts the call by method and code, and tells who listens what became of it",
    why: "around all that may refuse it: whatever ends the call from here on is on record",
  },
  {
    name: "authenticate",
    file: "server/identity.ts",
    role: "asks who calls; what was found is believed for 5 s",
    why: "before anything that depends on who it is; after the coarse shed, for it may be costly",
  },
  {
    name: "authorise",
    file: "server/rule.ts",
    role: "whether that caller may call that method; deny comes before allow",
    why: "before the user's interceptors and before the queue: who may not call takes nobody's place",
  },
  {
    name: "clamp",
    file: "server/identity.ts",
    role: "a call is critical only if its caller may say so",
    why: "as soon as it is known who calls, and before the first that goes by priority",
  },
  {
    name: "interceptors",
    file: "server/intercept.ts",
    role: "the user's functions around the handler",
    why: "inside the context, so that calls they make inherit it; outside what keeps answers, so that a second next gets the kept one",
  },
  {
    name: "lookup",
    file: "server/execution.ts",
    role: "gives a repeat of a once call its kept answer, or that of the attempt that still runs",
    why: "before admission: an answer that is there costs no permit, and refusing it would say that it is not there",
  },
  {
    name: "admission",
    file: "policy/protect/admission.ts",
    role: "lets as many begin as the server can do, the rest wait or are refused; what has no time left is refused",
    why: "in front of all that costs: a refused call's body is not parsed, and the store is not written to",
  },
  {
    name: "keep",
    file: "server/once.ts",
    role: "records a once call under its id, the bytes of its request and its caller, and its answer before that leaves",
    why: "after admission, for what is refused leaves no record; of the bytes as they came, so before they are decoded. What fails below it before the handler ran is taken back",
  },
  {
    name: "expired",
    file: "server/server-call.ts",
    role: "a call whose deadline has passed does not begin",
    why: "the last look at the clock: it may have waited for a permit or a store since admission looked",
  },
  {
    name: "decode",
    file: "wire/transport/server-exchange.ts",
    role: "messages from payload, within the size limit, and whether their checksum is theirs",
    why: "only for calls that run; one message at a time for streams, when the handler reads",
  },
  {
    name: "validate",
    file: "server/validate.ts",
    role: "what the user's schema says is wrong, field by field",
    why: "it needs the message; behind it the handler need not look",
  },
  {
    name: "handler",
    file: "server/run-handler.ts",
    role: "the user's handler; whatever it throws ends in its call",
    why: "innermost",
  },
]);
