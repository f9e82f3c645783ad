/**
 * How a store of first answers and the reasons of a server stand in headers and trailers (docs/wire.md, "Once").
 */
import type { DedupScope, AnnouncedStore } from "../../call/dedup.ts";
import { describeValue } from "../../call/options.ts";
import type { Reason } from "../../call/reason.ts";

const ANNOUNCED = /^([!-~]{1,64}) (process|machine|service)$/;

/** Why a server ended a call, of all reasons those that it can know; what else a peer claims is not believed. */
export const SERVER_REASONS: readonly Reason[] = Object.freeze([
  "OUTCOME_UNKNOWN",
  "KEY_CONFLICT",
  "ADMISSION_REFUSED",
  "DOOMED",
  "SERVER_DRAINING",
]);

/** What `holdfast-dedup` in an answer announces; undefined for anything but an id of 1..64 printable characters, a space and a scope. */
export function parseAnnouncedStore(text: string): AnnouncedStore | undefined {
  const found = ANNOUNCED.exec(text);
  return found === null ? undefined : Object.freeze({ id: found[1] as string, scope: found[2] as DedupScope });
}

/** The value of `holdfast-dedup` in an answer. RangeError for an id that is not 1..64 printable ASCII characters without spaces. */
export function formatAnnouncedStore({ id, scope }: AnnouncedStore): string {
  const text = `${id} ${scope}`;
  if (ANNOUNCED.test(text)) return text;
  throw new RangeError(`a dedup store's id must be 1..64 printable ASCII characters, got ${describeValue(id)}`);
}

/** The reason that `holdfast-reason` names, if it is one of {@link SERVER_REASONS}. */
export function parseServerReason(text: string): Reason | undefined {
  return SERVER_REASONS.find((reason) => reason === text);
}
