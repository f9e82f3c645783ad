/** Flags as data: a table says what each may be; one function reads them, one describes them. */
import { parseArgs } from "node:util";
import { type Option, resolveOptions, unknownKeyError } from "../call/options.ts";
import { UsageError } from "./usage-error.ts";

/** One flag. */
export interface Flag<T> {
  /** What stands behind it: a number, a text, or nothing. */
  readonly takes: "number" | "text" | "nothing";
  /** What it may be, and its default. */
  readonly option: Option<T>;
  /** What it means, for `--help`: unit, default, limit. */
  readonly says: string;
}

/** Flags by their names, dashes included: `--latency-ms`. */
export type FlagTable = { readonly [name: string]: Flag<unknown> };

/** What the flags of a table resolve to. */
export type FlagValues<F extends FlagTable> = { readonly [N in keyof F]: F[N] extends Flag<infer T> ? T : never };

/** Reads flags. {@link UsageError} for what the table does not know, a value that is missing or wrong, a flag given twice. */
export function parseFlags<const F extends FlagTable>(args: readonly string[], table: F): FlagValues<F> {
  const options = Object.fromEntries(
    Object.entries(table).map(([name, { takes }]) => [
      name.slice(2),
      { type: takes === "nothing" ? ("boolean" as const) : ("string" as const) },
    ]),
  );
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  const given = new Map<string, unknown>();
  for (const token of tokens) {
    if (token.kind === "positional") throw new UsageError(`unexpected ${JSON.stringify(token.value)}`);
    if (token.kind !== "option") continue;
    const { rawName } = token;
    const flag = table[rawName];
    if (flag === undefined) throw unknownFlag(rawName, Object.keys(table));
    if (given.has(rawName)) throw new UsageError(`${rawName} is given twice`);
    given.set(rawName, valueOf(rawName, token.value, token.inlineValue === true, flag.takes));
  }
  return resolved(Object.fromEntries(given), table);
}

function unknownFlag(name: string, known: readonly string[]): UsageError {
  return new UsageError(unknownKeyError("", name, known).message.replace(/^unknown key/, "unknown flag"));
}

function valueOf(
  name: string,
  text: string | undefined,
  isInline: boolean,
  takes: Flag<unknown>["takes"],
): string | number | true {
  if (takes === "nothing") {
    if (text !== undefined) throw new UsageError(`${name} takes no value, got ${JSON.stringify(text)}`);
    return true;
  }
  // `--listen --target x`: the next flag is no value.
  if (text === undefined || text === "" || (!isInline && text.startsWith("--"))) {
    throw new UsageError(`${name} must have a value`);
  }
  if (takes === "text") return text;
  if (!/^-?\d+(\.\d+)?$/.test(text)) throw new UsageError(`${name} must be a number, got ${JSON.stringify(text)}`);
  return Number(text);
}

function resolved<F extends FlagTable>(given: object, table: F): FlagValues<F> {
  const shape = Object.fromEntries(Object.entries(table).map(([name, { option }]) => [name, option]));
  try {
    return resolveOptions("", given, shape) as FlagValues<F>;
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
}

/** The flags as lines of help, names in a column. */
export function describeFlags(table: FlagTable): readonly string[] {
  const rows = Object.entries(table).map(([name, { takes, says }]) => {
    return { left: takes === "nothing" ? name : `${name} <${takes}>`, says };
  });
  const width = Math.max(...rows.map(({ left }) => left.length));
  return rows.map(({ left, says }) => `  ${left.padEnd(width)}  ${says}`);
}
