/**
 * `createSwitches`: each mechanism `on`, `observe` (decides and records, does nothing) or `off`, also while running, by a file that
 * is read again and again. A value that is handed to channels, never something that is found behind one's back.
 */
import { anyOption, describeValue, numberOption, resolveOptions, textOption } from "../call/options.ts";
import { type Mechanism, SwitchBoard, type SwitchState } from "../policy/protect/switches.ts";
import { nodeWorld } from "../world/node.ts";
import type { Timer } from "../world/timers.ts";
import type { World } from "../world/world.ts";

export type { Mechanism, SwitchState };

/** Where the states of switches come from. */
export interface SwitchesOptions {
  /** JSON such as `{ "hedge": "off", "outlier": "observe" }`; what it does not name is on. A file that is not there says nothing. Default none. */
  readonly file?: string | undefined;
  /** How often the file is looked at, in milliseconds. Default 1000; 100..3600000. */
  readonly pollMs?: number | undefined;
  /** States to begin with, and to stay with while no file says otherwise. Default all on. */
  readonly states?: { readonly [K in Mechanism]?: SwitchState | undefined } | undefined;
  /** Called when the file cannot be used, with a precise error; the last good states hold. Default a process warning. */
  readonly onError?: ((error: Error) => void) | undefined;
  /** Clock, timers and disk. Default the real ones. */
  readonly world?: World | undefined;
}

/** The switches of one or more channels. */
export interface Switches extends SwitchBoard, AsyncDisposable {
  /** Reads the file now; resolves when its states hold, or the error was told. */
  refresh(): Promise<void>;
}

const shape = {
  file: textOption(),
  pollMs: numberOption({ default: 1_000, min: 100, max: 3_600_000 }),
  states: anyOption<Readonly<Record<string, unknown>>>(),
  onError: anyOption<(error: Error) => void>(),
  world: anyOption<World>(),
};

/** Makes switches. TypeError or RangeError for an unknown mechanism or state. */
export function createSwitches(options?: SwitchesOptions): Switches {
  const { file, pollMs, states, onError = warn, world = nodeWorld } = resolveOptions("", options ?? {}, shape);
  if (typeof onError !== "function") throw new TypeError(`onError must be a function, got ${describeValue(onError)}`);
  return new FileSwitches(world, file, pollMs, JSON.stringify(states ?? {}), onError);
}

class FileSwitches extends SwitchBoard implements Switches {
  readonly #world: World;
  readonly #file: string | undefined;
  readonly #pollMs: number;
  readonly #onError: (error: Error) => void;
  #text: string;
  #timer: Timer | undefined;
  #isClosed: boolean;

  constructor(world: World, file: string | undefined, pollMs: number, states: string, onError: (error: Error) => void) {
    super();
    this.#world = world;
    this.#file = file;
    this.#pollMs = pollMs;
    this.#onError = onError;
    this.#text = states;
    this.#timer = undefined;
    this.#isClosed = false;
    this.apply(states);
    if (file !== undefined) void this.refresh();
  }

  async refresh(): Promise<void> {
    if (this.#file === undefined || this.#isClosed) return;
    this.#timer?.cancel();
    try {
      const text = await this.#world.disk.readText(this.#file);
      if (text !== this.#text) {
        this.#text = text;
        this.apply(text);
      }
    } catch (error) {
      if (!isAbsent(error)) this.#onError(new Error(`switches of ${this.#file}: ${wordsOf(error)}`, { cause: error }));
    }
    if (!this.#isClosed) this.#timer = this.#world.timers.schedule(this.#pollMs, () => void this.refresh());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
  }
}

function isAbsent(error: unknown): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === "ENOENT";
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function warn(error: Error): void {
  process.emitWarning(error.message, { code: "HOLDFAST_SWITCHES" });
}
