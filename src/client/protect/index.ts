/**
 * The door `holdfast/protect`: the protections of calls around any async function, and around `fetch`.
 */
export type { Backoff, Hedge, Policy, Preset, Retry } from "../policy/policy.ts";
export type { ProtectFetchOptions, ProtectOptions } from "./options.ts";
export { protect, type Protected } from "./protect.ts";
export type { Attempt } from "./protected-attempt.ts";
export type { HttpKind } from "./http-request.ts";
export { type ProtectedFetch, protectFetch } from "./protect-fetch.ts";
