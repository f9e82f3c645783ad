/**
 * What is known of a method before it is called.
 */

/** How many messages go each way: one and one, one and many, many and one, many and many. */
export type CallKind = "unary" | "server-stream" | "client-stream" | "bidi";

/**
 * What a second execution would do; the one fact that decides whether a call may be repeated.
 * none: changes nothing (may be cached, coalesced, hedged). idempotent: twice is as once (may be hedged). once: the server
 * keeps the first answer (may be retried, not hedged). unknown: repeated only if it provably never reached a handler.
 */
export type Effect = "none" | "idempotent" | "once" | "unknown";

/** Whom admission refuses first under load: sheddable, then normal; critical last. */
export type Priority = "critical" | "normal" | "sheddable";

/** One method of a contract. */
export interface MethodInfo {
  /** The contract's full name: `shop.v1.Orders`. */
  readonly service: string;
  /** As typed in TypeScript: `place`. */
  readonly name: string;
  /** As on the wire: `/shop.v1.Orders/Place`. */
  readonly path: string;
  readonly kind: CallKind;
  readonly effect: Effect;
}
