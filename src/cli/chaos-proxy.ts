/** `holdfast chaos proxy`: a TCP proxy that does to connections what bad networks do, until its time is over or it is interrupted. */
import { booleanOption, numberOption, textOption, wordOption } from "../call/options.ts";
import { createFaultProxy, type FaultProxyCounts, type ProxyFault } from "../chaos/index.ts";
import { addressText, isLocal, parseAddress } from "../wire/transport/address.ts";
import type { SocketAddress } from "../world/network.ts";
import { defineCommand, type ExitCode, type Shell } from "./command.ts";
import type { Flag, FlagValues } from "./flags.ts";
import { UsageError } from "./usage-error.ts";

const BYTES_MAX = Number.MAX_SAFE_INTEGER;

const FLAGS = {
  "--listen": text("where it listens: host:port on loopback; port 0 takes a free one"),
  "--target": text("where it connects to: host:port"),
  "--direction": words(
    ["up", "down", "both"],
    "which way the faults go: up (to the target), down or both; default both",
  ),
  "--share": share("part of the connections that suffers, 0..1, drawn for each fault; default 1"),
  "--latency-ms": ms("how much later bytes arrive, each way"),
  "--jitter-ms": ms("up to how much earlier or later than that; needs --latency-ms; default 0"),
  "--bandwidth-bytes": count(1, 1e12, "bytes a second that pass each way of a connection"),
  "--slice-bytes": count(1, BYTES_MAX, "bytes that pass at once at most"),
  "--slice-delay-ms": ms("pause between these; needs --slice-bytes; default 0"),
  "--stall": nothing("nothing passes, and connections stay"),
  "--silence": words(["up", "down", "both"], "what is sent this way is taken and lost: up, down or both"),
  "--half-open": nothing("the target is cut and clients are not told; new connections are never answered"),
  "--refuse": nothing("new connections are reset"),
  "--reset-share": share("part of the connections that is reset, 0..1"),
  "--reset-after-bytes": count(
    0,
    BYTES_MAX,
    "once so many bytes have passed; without --reset-share all; default 0, at once",
  ),
  "--limit-bytes": count(0, BYTES_MAX, "closes connections in order once so many bytes have passed"),
  "--slow-close-ms": ms("how much later an end is passed on"),
  "--corrupt-share": share("part of the chunks in which a bit flips, 0..1"),
  "--corrupt-every-bytes": count(1, BYTES_MAX, "one bit flips in every so many bytes"),
  "--seed": count(0, 4_294_967_295, "what all chance is drawn from; default: drawn, and said"),
  "--for-ms": number(
    numberOption({ default: undefined, min: 1, max: 86_400_000 }),
    "ends after so long; default: when interrupted",
  ),
  "--allow-remote": nothing("--listen may be more than loopback: whoever reaches it reaches the target"),
  "--json": nothing("prints two JSON lines: where it listens, and at the end what it did"),
};

type TcpAddress = Extract<SocketAddress, { readonly kind: "tcp" }>;
type ProxyFlags = FlagValues<typeof FLAGS>;

/** The command. */
export const chaosProxy = defineCommand({
  name: "chaos proxy",
  summary: "a TCP proxy with faults: latency, bandwidth, stall, reset, half-open, silence, corruption",
  help: "holdfast chaos proxy --listen 127.0.0.1:9000 --target 127.0.0.1:50051 --latency-ms 50 --jitter-ms 10",
  flags: FLAGS,
  run,
});

async function run(flags: ProxyFlags, shell: Shell): Promise<ExitCode> {
  const listen = placeOf("--listen", flags["--listen"]);
  const target = placeOf("--target", flags["--target"]);
  const allowRemote = flags["--allow-remote"];
  if (!allowRemote && !isLocal(listen)) {
    throw new UsageError(`--listen must be loopback unless --allow-remote is given, got ${addressText(listen)}`);
  }
  if (target.port === 0) throw new UsageError("--target must have a port in 1..65535, got 0");
  const faults = faultsOf(flags);
  const { world } = shell;
  await using proxy = createFaultProxy({
    world,
    listen: { host: listen.host, port: listen.port },
    target: { host: target.host, port: target.port },
    seed: flags["--seed"],
    allowRemote,
  });
  proxy.set(faults);
  const { host, port } = await proxy.listen();
  const at = {
    listen: addressText({ kind: "tcp", host, port }),
    target: addressText(target),
    seed: proxy.seed,
    faults,
  };
  shell.say(`${at.listen} passes to ${at.target}, seed ${at.seed}`);
  for (const fault of faults) shell.say(`fault: ${faultText(fault)}`);
  if (flags["--json"]) shell.print(JSON.stringify({ event: "listening", ...at }));
  const startMs = world.clock.monotonicMs();
  const end = await theEnd(shell, flags["--for-ms"]);
  const ms = Math.round(world.clock.monotonicMs() - startMs);
  // First the counts: connections that closing cuts are no fault's.
  const counts = proxy.counts();
  await proxy.close();
  for (const line of flags["--json"] ? [JSON.stringify({ event: "ended", end, ms, ...counts })] : countLines(counts)) {
    shell.print(line);
  }
  return end === "interrupted" ? 130 : 0;
}

/** Waits for the time to be over, or for the interruption. */
function theEnd({ world, interrupted }: Shell, forMs: number | undefined): Promise<"time" | "interrupted"> {
  return new Promise((resolve) => {
    const stop = (): void => {
      timer?.cancel();
      resolve("interrupted");
    };
    const timer =
      forMs === undefined
        ? undefined
        : world.timers.schedule(forMs, () => {
            interrupted.removeEventListener("abort", stop);
            resolve("time");
          });
    if (interrupted.aborted) stop();
    else interrupted.addEventListener("abort", stop, { once: true });
  });
}

/** What the flags ask for, in the proxy's words. */
function faultsOf(flags: ProxyFlags): readonly ProxyFault[] {
  const common = { direction: flags["--direction"], share: flags["--share"] };
  const { share } = common;
  const faults: ProxyFault[] = [];
  const latencyMs = flags["--latency-ms"];
  const sliceBytes = flags["--slice-bytes"];
  if (latencyMs !== undefined) faults.push({ kind: "latency", latencyMs, jitterMs: flags["--jitter-ms"], ...common });
  else if (flags["--jitter-ms"] !== undefined) throw new UsageError("--jitter-ms needs --latency-ms");
  if (sliceBytes !== undefined)
    faults.push({ kind: "slice", sliceBytes, delayMs: flags["--slice-delay-ms"], ...common });
  else if (flags["--slice-delay-ms"] !== undefined) throw new UsageError("--slice-delay-ms needs --slice-bytes");
  const bytesPerSecond = flags["--bandwidth-bytes"];
  if (bytesPerSecond !== undefined) faults.push({ kind: "bandwidth", bytesPerSecond, ...common });
  if (flags["--stall"]) faults.push({ kind: "stall", ...common });
  const silence = flags["--silence"];
  if (silence !== undefined) faults.push({ kind: "silence", direction: silence, share });
  if (flags["--half-open"]) faults.push({ kind: "half-open", share });
  if (flags["--refuse"]) faults.push({ kind: "refuse", share });
  return [...faults, ...endsOf(flags, common), ...corruptionsOf(flags, common)];
}

type Common = Pick<Extract<ProxyFault, { readonly kind: "stall" | "silence" }>, "direction" | "share">;

/** How connections end. */
function endsOf(flags: ProxyFlags, common: Common): readonly ProxyFault[] {
  const faults: ProxyFault[] = [];
  const resetShare = flags["--reset-share"];
  const afterBytes = flags["--reset-after-bytes"];
  if (resetShare !== undefined || afterBytes !== undefined) {
    faults.push({ kind: "reset", afterBytes, direction: common.direction, share: resetShare ?? common.share });
  }
  const bytes = flags["--limit-bytes"];
  if (bytes !== undefined) faults.push({ kind: "limit", bytes, ...common });
  const delayMs = flags["--slow-close-ms"];
  if (delayMs !== undefined) faults.push({ kind: "slow-close", delayMs, ...common });
  return faults;
}

/** Which bits flip. */
function corruptionsOf(flags: ProxyFlags, common: Common): readonly ProxyFault[] {
  const faults: ProxyFault[] = [];
  const chunkShare = flags["--corrupt-share"];
  const everyBytes = flags["--corrupt-every-bytes"];
  if (chunkShare !== undefined) faults.push({ kind: "corrupt", chunkShare, ...common });
  if (everyBytes !== undefined) faults.push({ kind: "corrupt", everyBytes, ...common });
  return faults;
}

function faultText({ kind, ...own }: ProxyFault): string {
  const facts = Object.entries(own).filter(([, value]) => value !== undefined);
  return [kind, ...facts.map(([key, value]) => `${key} ${String(value)}`)].join(" ");
}

function countLines(counts: FaultProxyCounts): readonly string[] {
  return Object.entries(counts).map(([name, value]) => `${name.padEnd(12)} ${String(value)}`);
}

function placeOf(name: string, given: string | undefined): TcpAddress {
  if (given === undefined) throw new UsageError(`${name} must be given`);
  let address: SocketAddress;
  try {
    address = parseAddress(given, name);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  if (address.kind !== "tcp") throw new UsageError(`${name} must be host:port, got ${JSON.stringify(given)}`);
  return address;
}

function text(says: string): Flag<string | undefined> {
  return { takes: "text", option: textOption({ lengthMax: 300 }), says };
}

function words<const W extends string>(known: readonly W[], says: string): Flag<W | undefined> {
  return { takes: "text", option: wordOption(known), says };
}

function nothing(says: string): Flag<boolean> {
  return { takes: "nothing", option: booleanOption({ default: false }), says };
}

function number<T>(option: Flag<T>["option"], says: string): Flag<T> {
  return { takes: "number", option, says };
}

function share(says: string): Flag<number | undefined> {
  return number(numberOption({ default: undefined, min: 0, max: 1 }), says);
}

function ms(says: string): Flag<number | undefined> {
  return number(numberOption({ default: undefined, min: 0, max: 3_600_000 }), says);
}

function count(min: number, max: number, says: string): Flag<number | undefined> {
  return number(numberOption({ default: undefined, min, max, integer: true }), says);
}
