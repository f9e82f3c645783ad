/**
 * Chance as a port: real, or drawn from a seed. Not for secrets; those come from node:crypto in the room that needs them.
 */
export interface Random {
  /** A uniform integer in 0 .. 2^32 - 1. */
  uint32(): number;
  /** A uniform number in [0, 1) with 53 bits. */
  float(): number;
}
