/**
 * The server's stack as one ordered list, in the order in which a call meets it: each layer, where it is, and why it stands
 * there. Cheap refusals come first, the user's code last.
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
    name: "context",
    file: "server/server-call.ts",
    role: "call id, trace, deadline, priority",
    why: "everything after it, refusals too, belongs to a call with a name and a deadline",
  },
  {
    name: "decode",
    file: "wire/transport/server-exchange.ts",
    role: "messages from payload, within the size limit",
    why: "in front of the interceptors, which see messages and not bytes",
  },
  {
    name: "interceptors",
    file: "server/intercept.ts",
    role: "the user's functions around the handler",
    why: "inside the context, so that calls they make inherit it",
  },
  {
    name: "handler",
    file: "server/server-call.ts",
    role: "the user's handler; whatever it throws ends in its call",
    why: "innermost",
  },
]);
