/** Everything that must hold in every universe. A new invariant is a new entry of one of these lists. */
import { attemptInvariants } from "./attempt-invariants.ts";
import { callInvariants } from "./call-invariants.ts";
import type { Invariant } from "./look.ts";
import { peerInvariants } from "./peer-invariants.ts";

export const invariants: readonly Invariant[] = [...callInvariants, ...attemptInvariants, ...peerInvariants];
