/**
 * How long to wait before the next connection (grpc/doc/connection-backoff.md): 1 s x 1.6 up to 120 s, +-20 %, counted
 * from the start of the attempt that failed. Reset when a peer's SETTINGS arrive.
 */
const BASE_MS = 1_000;
const FACTOR = 1.6;
const MAX_MS = 120_000;
const JITTER = 0.2;
/** While no peer is ready, an outage should end soon after its cause has. */
const NOBODY_READY_MAX_MS = 2_000;

/** How long a wait may still last when the last ready peer is lost, spread so that not all are dialled at once. @param chance in [0, 1). */
export function impatientDelayMs(chance: number): number {
  return NOBODY_READY_MAX_MS * (1 - 2 * JITTER * chance);
}

/** @param failures failed attempts in a row, from 1. @param chance in [0, 1). */
export function reconnectDelayMs(failures: number, isAnyReady: boolean, chance: number): number {
  const grown = Math.min(MAX_MS, BASE_MS * FACTOR ** Math.min(Math.max(0, failures - 1), 20));
  return Math.min(grown, isAnyReady ? MAX_MS : NOBODY_READY_MAX_MS) * (1 + JITTER * (2 * chance - 1));
}

/** How long the next dial is waited for where capacity is wanted, as long as no peer is ready or those that are refuse calls. */
const WANTED_MS = 500;

/**
 * After how long another dial begins beside one that nothing answers, and after how long one that failed is repeated, where capacity is wanted. A kernel asks again after 1, 3, 7, 15 s (RFC 6298's doubling, from
 * 1 s): a client that dialled during a partition would be away for as long again as the partition had lasted. One that asks twice a second is
 * back when its network is. @param chance in [0, 1).
 */
export function wantedDelayMs(chance: number): number {
  return WANTED_MS * (1 + JITTER * (2 * chance - 1));
}

/** The first wait after a goodbye; it doubles while each connection gets one soon after it was made. */
const GOODBYE_BASE_MS = 50;

/**
 * How long after its dial a connection that its peer ended in good order is followed by the next. The peer was there and said so, and may be
 * there again: its port is a successor's, or it only ended what was old. But one that says goodbye to each is not dialled without end.
 *
 * @param goodbyes in a row, from 1, each of a connection that had not lived for long. @param chance in [0, 1).
 */
export function goodbyeDelayMs(goodbyes: number, chance: number): number {
  const grown = Math.min(BASE_MS, GOODBYE_BASE_MS * 2 ** Math.min(Math.max(0, goodbyes - 1), 10));
  return grown * (1 + JITTER * (2 * chance - 1));
}
