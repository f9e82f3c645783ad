/**
 * The switches: each mechanism acts (`on`), decides and records but does nothing (`observe`), or does not exist (`off`), and can be
 * changed while running. Pure: somebody else reads the file and hands in its text.
 */
import { describeValue, resolveOptions, wordOption } from "../../call/options.ts";
import type { Option } from "../../call/options.ts";

/** `off`: it does not exist. `observe`: it decides and records, and does nothing. `on`: it acts. */
export type SwitchState = "off" | "observe" | "on";

/** What can be switched. Closed. */
export const mechanisms = [
  "retry",
  "hedge",
  "budget",
  "throttle",
  "gate",
  "suspicion",
  "outlier",
  "correlated",
  "corruption",
  "poison",
  "panic",
  "slow-start",
  "integrity",
] as const;
/** The name of a mechanism that can be switched. */
export type Mechanism = (typeof mechanisms)[number];

/** Told once per change, after it, with the board as it is now. */
export type SwitchListener = (board: SwitchBoard) => void;

type States = Readonly<Record<Mechanism, SwitchState>>;

/** A file of thirteen words is short; what is longer is another file. */
const TEXT_LENGTH_MAX = 65_536;
const LISTENERS_MAX = 10_000;

const STATE: Option<SwitchState> = wordOption(["off", "observe", "on"], { default: "on" });
const SHAPE = Object.fromEntries(mechanisms.map((mechanism) => [mechanism, STATE])) as Record<
  Mechanism,
  Option<SwitchState>
>;

const ALL_ON: States = resolveOptions("", {}, SHAPE);

/** The state of every mechanism. */
export class SwitchBoard {
  private states: States;
  private changes: number;
  private listeners: Set<SwitchListener> | undefined;

  constructor() {
    this.states = ALL_ON;
    this.changes = 0;
    this.listeners = undefined;
  }

  /** Grows with each change: who keeps what it derived from the board compares this. */
  get version(): number {
    return this.changes;
  }

  /** The state of a mechanism; `on` unless it was switched. */
  get(mechanism: Mechanism): SwitchState {
    return this.states[mechanism];
  }

  /** Switches one mechanism. Throws a TypeError for an unknown one, a RangeError for an unknown state. */
  set(mechanism: Mechanism, state: SwitchState): void {
    this.replace(resolveOptions("", { ...this.states, [mechanism]: state }, SHAPE));
  }

  /**
   * Switches all of them by a JSON object such as `{"hedge":"off"}`. The text is the whole truth: what it does not name is `on`. All or
   * nothing: throws, and changes nothing, if it is not JSON (SyntaxError), longer than 65,536 characters or has an unknown state
   * (RangeError), is no object or has an unknown mechanism (TypeError, with a suggestion).
   */
  apply(text: string): void {
    this.replace(resolveOptions("", parse(text), SHAPE));
  }

  /** Calls `listener` after each change until the returned function is called. At most 10,000 listeners (RangeError). */
  onChange(listener: SwitchListener): () => void {
    const listeners = (this.listeners ??= new Set<SwitchListener>());
    if (listeners.size >= LISTENERS_MAX) {
      throw new RangeError(`a switch board has at most ${LISTENERS_MAX} listeners`);
    }
    // Wrapped, so that the same function given twice is two listeners.
    const own: SwitchListener = (board) => listener(board);
    listeners.add(own);
    return () => {
      listeners.delete(own);
    };
  }

  private replace(next: States): void {
    if (mechanisms.every((mechanism) => next[mechanism] === this.states[mechanism])) return;
    this.states = next;
    this.changes += 1;
    this.tell();
  }

  /** All are told, also when one throws: what was thrown first is thrown on at the end. */
  private tell(): void {
    const failures: unknown[] = [];
    for (const listener of [...(this.listeners ?? [])]) {
      try {
        listener(this);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

function parse(text: string): unknown {
  if (typeof text !== "string") throw new TypeError(`switches must be a text, got ${describeValue(text)}`);
  if (text.length > TEXT_LENGTH_MAX) {
    throw new RangeError(`switches must have at most ${TEXT_LENGTH_MAX} characters, got ${text.length}`);
  }
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`switches must be JSON: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new TypeError(`switches must be an object such as {"hedge":"off"}, got ${describeValue(given)}`);
  }
  return given;
}
