/** The plan of the demo: which fault befalls which server, when, and for how long. */

export type FaultKind = "kill" | "stop" | "slow" | "unavailable" | "corrupt" | "partition";

export interface Chapter {
  readonly kind: FaultKind;
  /** Whom it befalls: index of a server. */
  readonly server: number;
  /** When it begins, from the beginning of the run. */
  readonly atMs: number;
  /** How long the fault lasts, at least: a killed server takes a moment to start again. */
  readonly faultMs: number;
}

/** What is known of a fault when it is over. */
export interface FaultFacts {
  readonly flippedBits?: number | undefined;
}

/** How slow is slow, and how often UNAVAILABLE is answered. */
export const SLOW_MS = 200;
export const UNAVAILABLE_SHARE = 0.2;

/** The names of the servers. */
export const SERVER_NAMES = ["A", "B", "C", "D", "E"] as const;

/** For a run of 40 s; a shorter or longer one is scaled. A server may get its share back in a later chapter: all but one befall another one. */
const PLAN_SECONDS = 40;
const PLAN: readonly (readonly [kind: FaultKind, server: number, faultSeconds: number, chapterSeconds: number])[] = [
  ["kill", 0, 0.5, 4.5],
  ["stop", 1, 5, 8],
  ["slow", 2, 2.5, 5.5],
  ["unavailable", 3, 2.5, 5.5],
  ["corrupt", 4, 2.5, 5],
  ["partition", 0, 2.5, 10],
];
const CALM_SECONDS = 1.5;

export function planChapters(seconds: number): readonly Chapter[] {
  const scaleMs = (seconds / PLAN_SECONDS) * 1_000;
  let at = CALM_SECONDS;
  return PLAN.map(([kind, server, faultSeconds, chapterSeconds]) => {
    const chapter: Chapter = { kind, server, atMs: at * scaleMs, faultMs: faultSeconds * scaleMs };
    at += chapterSeconds;
    return chapter;
  });
}

/** What begins, for people. */
export function beginning({ kind, server, faultMs }: Chapter): string {
  const name = SERVER_NAMES[server] ?? "?";
  const time = `for ${seconds(faultMs)} s`;
  switch (kind) {
    case "kill":
      return `${name} is killed: kill -9`;
    case "stop":
      return `${name} is frozen ${time}: SIGSTOP`;
    case "slow":
      return `${name} takes ${SLOW_MS} ms longer for each call, ${time}`;
    case "unavailable":
      return `${name} answers ${UNAVAILABLE_SHARE * 100} % of the calls with UNAVAILABLE, ${time}`;
    case "corrupt":
      return `bits of what ${name} answers flip on the way, ${time}`;
    case "partition":
      return `${name} is cut off ${time}: nothing gets there or back, no connection ends`;
  }
}

/** What ends, for people. */
export function ending({ kind, server }: Chapter, { flippedBits = 0 }: FaultFacts): string {
  const name = SERVER_NAMES[server] ?? "?";
  switch (kind) {
    case "kill":
      return `${name} is started again`;
    case "stop":
      return `${name} goes on: SIGCONT`;
    case "slow":
    case "unavailable":
      return `${name} is well again`;
    case "corrupt":
      return `${flippedBits} bits flipped; no more do`;
    case "partition":
      return `${name} can be reached again`;
  }
}

/** 2.5 */
function seconds(ms: number): string {
  return String(Math.round(ms / 100) / 10);
}
