/**
 * Who calls, as the server's `authenticate` found out.
 */

/** An authenticated caller. Servers extend it with what their `authorize` rules need. */
export interface Principal {
  /** Names the caller in rules and records, for instance a SPIFFE id. */
  readonly id: string;
}
