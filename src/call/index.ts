/**
 * The door `holdfast/call`: the words of calls. Types only.
 */
export type { Call } from "./call.ts";
export type { Code, CodeOrOk } from "./code.ts";
export type { Deadline } from "./deadline.ts";
export type { CutCall, DrainReport } from "./drain-report.ts";
export type { ErrorDetail, RpcErrorOptions } from "./error.ts";
export type {
  AttemptRecord,
  AttemptWhy,
  CallPhase,
  CallRecord,
  Event,
  EventMap,
  EventName,
  PeerHealth,
  SavedBy,
} from "./event.ts";
export type { Blame, Fault, FaultKind, Phase } from "./fault.ts";
export type { InterceptedCall, Interceptor, Next, Outcome, Reply, Source } from "./interceptor.ts";
export type { Metadata, MetadataInit, MetadataValue } from "./metadata.ts";
export type { CallKind, Effect, MethodInfo, Priority } from "./method.ts";
export type { Options } from "./options.ts";
export type { Peer } from "./peer.ts";
export type { Principal } from "./principal.ts";
export type { Reason } from "./reason.ts";
export type { Refused } from "./refused.ts";
