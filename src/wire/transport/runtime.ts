/**
 * What all connections of one world share: its wheel of deadlines, its budget of windows, one list of events.
 */
import type { World } from "../../world/world.ts";
import { EventList } from "../http2/event.ts";
import { WindowBudget } from "../http2/limits.ts";
import { wireNames } from "./names.ts";
import { patientTimers } from "./patient-timers.ts";
import { TimerWheel } from "./timer-wheel.ts";

/** Bytes by which all receive windows of the process may exceed their first 64 KiB. */
const WINDOW_BUDGET_BYTES = 256 * 1_048_576;

export interface Runtime {
  readonly world: World;
  readonly wheel: TimerWheel;
  readonly windows: WindowBudget;
  /** One list serves all connections: it is empty between two calls of a socket's events. */
  readonly events: EventList;
}

const runtimes = new WeakMap<World, Runtime>();

export function runtimeOf(world: World): Runtime {
  let runtime = runtimes.get(world);
  if (runtime === undefined) {
    runtime = {
      world,
      wheel: new TimerWheel(world.clock, patientTimers(world.clock, world.timers)),
      windows: new WindowBudget(WINDOW_BUDGET_BYTES),
      events: new EventList(wireNames),
    };
    runtimes.set(world, runtime);
  }
  return runtime;
}
