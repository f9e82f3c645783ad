/**
 * A door that cannot accept says so: the server goes on, but whoever runs it must hear that it is out of descriptors.
 */
import type { Clock } from "../world/clock.ts";
import type { NetworkError } from "../world/network.ts";

/** A storm of failures is one warning a second. */
const WARNING_GAP_MS = 1_000;

/** For a listener's `failed`: warns the process (`process.on("warning")`), with address and cause, at most once a second for each door. */
export function doorWarnings(clock: Clock, address: string): (error: NetworkError) => void {
  let warnedAtMs = -Infinity;
  let unsaid = 0;
  return (error) => {
    const nowMs = clock.monotonicMs();
    if (nowMs - warnedAtMs < WARNING_GAP_MS) {
      unsaid += 1;
      return;
    }
    warnedAtMs = nowMs;
    const more = unsaid === 0 ? "" : ` (and ${unsaid} times since the last warning)`;
    unsaid = 0;
    process.emitWarning(`a connection to ${address} could not be accepted${more}: ${error.text}`, {
      type: "HoldfastWarning",
      code: "HOLDFAST_ACCEPT_FAILED",
      detail: `phase ${error.phase}, code ${error.code}`,
    });
  };
}
