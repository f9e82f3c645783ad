/** The plan of the demo: which fault befalls which server, and what befalls all of them, when, and for how long. */

export type FaultKind = "kill" | "stop" | "slow" | "unavailable" | "corrupt" | "partition";
/** What befalls all servers. */
export type FleetKind = "rolling restart" | "overload";

/** A fault of one server. */
export interface FaultChapter extends Span {
  readonly kind: FaultKind;
  /** Whom it befalls: index of a server. */
  readonly server: number;
}

export interface FleetChapter extends Span {
  readonly kind: FleetKind;
  readonly server: undefined;
}

export type Chapter = FaultChapter | FleetChapter;

interface Span {
  /** When it begins, from the beginning of the run. */
  readonly atMs: number;
  /** How long it lasts, at least: a killed server takes a moment to start again, a rolling restart as long as five of them. */
  readonly faultMs: number;
}

/** What is known of a fault when it is over. */
export interface FaultFacts {
  readonly flippedBits?: number | undefined;
}

/** How slow is slow, how often UNAVAILABLE is answered, and how many times too much is asked for in an overload. */
export const SLOW_MS = 200;
export const UNAVAILABLE_SHARE = 0.2;
export const OVERLOAD_FACTOR = 4;

/** The names of the servers. */
export const SERVER_NAMES = ["A", "B", "C", "D", "E"] as const;

/** For a run of 40 s; a shorter or longer one is scaled. A server may get its share back in a later chapter: all but one befall another one. */
const PLAN_SECONDS = 40;
const PLAN: readonly (readonly [...what: What, faultSeconds: number, chapterSeconds: number])[] = [
  ["kill", 0, 0.5, 4],
  ["stop", 1, 5, 7.5],
  ["slow", 2, 2.5, 5],
  ["unavailable", 3, 2.5, 5],
  ["corrupt", 4, 2.5, 4.5],
  ["partition", 0, 2.5, 5],
  ["rolling restart", undefined, 0, 4],
  ["overload", undefined, 3, 4],
];
type What = [FaultKind, number] | [FleetKind, undefined];
const CALM_SECONDS = 1;
/** Admission decides by what it has measured: an overload of less shows how it begins, and no more. */
const OVERLOAD_MS_MIN = 2_000;

export function planChapters(seconds: number): readonly Chapter[] {
  const scaleMs = (seconds / PLAN_SECONDS) * 1_000;
  let at = CALM_SECONDS;
  return PLAN.map(([kind, server, faultSeconds, chapterSeconds]) => {
    const atMs = at * scaleMs;
    const faultMs = faultSeconds * scaleMs;
    at += chapterSeconds;
    if (server !== undefined) return { kind, server, atMs, faultMs };
    return { kind, server, atMs, faultMs: kind === "overload" ? Math.max(OVERLOAD_MS_MIN, faultMs) : faultMs };
  });
}

/** What begins, for people. */
export function beginning({ kind, server, faultMs }: Chapter): string {
  const name = nameOf(server);
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
    case "rolling restart":
      return `${name} are restarted, one after the other: SIGTERM`;
    case "overload":
      return `a batch job asks ${name} for ${OVERLOAD_FACTOR} times what they can do, ${time}`;
  }
}

/** What ends, for people. */
export function ending({ kind, server }: Chapter, { flippedBits = 0 }: FaultFacts): string {
  const name = nameOf(server);
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
    case "rolling restart":
      return `${name} have been`;
    case "overload":
      return "the batch job is over";
  }
}

/** A server's name; of all of them if it is undefined. */
export function nameOf(server: number | undefined): string {
  if (server === undefined) return `${SERVER_NAMES[0]} to ${SERVER_NAMES.at(-1)}`;
  return SERVER_NAMES[server] ?? "?";
}

/** 2.5 */
function seconds(ms: number): string {
  return String(Math.round(ms / 100) / 10);
}
