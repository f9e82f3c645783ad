/**
 * The world is a parameter: everything that is not a function of its arguments reaches the other rooms through here.
 * One real ({@link nodeWorld} in node.ts), one simulated (`holdfast/testing`).
 */
import type { Clock } from "./clock.ts";
import type { Disk } from "./disk.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { Timers } from "./timers.ts";

export interface World {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly network: Network;
  readonly disk: Disk;
}
