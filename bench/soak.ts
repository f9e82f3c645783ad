/**
 * `npm run soak`: a server and two clients (one by TLS), each a process of its own, under a modest open loop of all kinds of calls, of which
 * many end badly: deadlines, cancels, errors, defects, abandoned and broken streams, clients that come and go, connections that break
 * or grow old. What a process holds after a full collection must not grow with its calls, and at the end nothing may be open.
 *
 * A leak of 100 bytes a call is found in five minutes: the gate is 40 bytes a call beyond two standard errors, and a run in which these are more than
 * 60 is failed as too noisy. Exit 0 passed, 1 failed, 2 usage.
 */
import { makeTlsFiles } from "./certificates.ts";
import { type Child, startChild } from "./commands.ts";
import { UsageError } from "./options.ts";
import type { SoakClientCommands, SoakSample, SoakServerCommands } from "./soak-commands.ts";
import { parseSoakOptions, type SoakOptions, soakUsage } from "./soak-options.ts";
import { describeSoak, type SoakReport, soakReport, type SoakSeries } from "./soak-report.ts";

/** So many samples, and no closer than this: a full collection stops its process for a while. */
const samplesMax = 150;
const sampleGapMsMin = 250;
/** The warm-up is over when so large a share of the calls due in it was handled, and lasts this many times as long at the most. */
const warmCallsShare = 0.8;
const warmUpFactorMax = 3;

export async function runSoak(options: SoakOptions, progress: (line: string) => void): Promise<SoakReport> {
  const { files, remove } = await makeTlsFiles();
  const args = [String(options.plantedBytes)];
  const server = startChild<SoakServerCommands>("./soak-server.ts", "any", { args });
  const clients = [0, 1].map(() => startChild<SoakClientCommands>("./soak-client.ts", "any"));
  try {
    const ports = await server.ask.serve({ certFile: files.certFile, keyFile: files.keyFile });
    const perSecond = options.perSecond / clients.length;
    await Promise.all(
      clients.map(({ ask }, index) => {
        const isTls = index % 2 === 1;
        const caFile = isTls ? files.caFile : undefined;
        return ask.start({ port: isTls ? ports.tlsPort : ports.plainPort, caFile, perSecond });
      }),
    );
    const series = await watch(options, [server, ...clients], progress);
    const tallies = await Promise.all(clients.map(({ ask }) => ask.rest()));
    const rest = await server.ask.rest();
    const left = [
      ...rest.left.map((what) => `server: ${what}`),
      ...tallies.flatMap(({ left: those }, index) => those.map((what) => `client ${index + 1}: ${what}`)),
    ];
    return soakReport(options, series, tallies, left);
  } finally {
    for (const child of [server, ...clients]) child.stop();
    await remove();
  }
}

type Sampled = Child<{ sample(): Promise<SoakSample> }>;

async function watch(
  { minutes, warmUpSeconds, perSecond }: SoakOptions,
  children: readonly Sampled[],
  progress: (line: string) => void,
): Promise<readonly SoakSeries[]> {
  const [server] = children;
  if (server === undefined) throw new RangeError("there is nothing to watch");
  const samples = children.map((): SoakSample[] => []);
  const gapMs = Math.max(sampleGapMsMin, (minutes * 60_000) / samplesMax);
  await sleep(warmUpSeconds * 1_000);
  // Code warms up by calls: where the machine was too busy for them it takes longer.
  const warmCalls = warmCallsShare * perSecond * warmUpSeconds;
  const untilMs = performance.now() + (warmUpFactorMax - 1) * warmUpSeconds * 1_000;
  while ((await server.ask.sample()).calls < warmCalls && performance.now() < untilMs) await sleep(1_000);
  const beganAtMs = performance.now();
  let toldAtMs = beganAtMs;
  while (performance.now() - beganAtMs < minutes * 60_000) {
    const taken = await Promise.all(children.map(({ ask }) => ask.sample()));
    for (const [index, sample] of taken.entries()) samples[index]?.push(sample);
    if (performance.now() - toldAtMs > 15_000) {
      toldAtMs = performance.now();
      const heaps = taken.map(({ heapBytes }) => (heapBytes / 2 ** 20).toFixed(2)).join(", ");
      progress(
        `${((toldAtMs - beganAtMs) / 60_000).toFixed(1)} min: heaps ${heaps} MiB, ${taken[0]?.calls ?? 0} calls handled`,
      );
    }
    await sleep(gapMs);
  }
  return samples.map((of, index) => ({ process: index === 0 ? "server" : `client ${index}`, samples: of }));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The verb: gives back the exit code. */
export async function soakMain(args: readonly string[], progress: (line: string) => void): Promise<number> {
  try {
    const options = parseSoakOptions(args);
    const report = await runSoak(options, progress);
    console.log(options.isJson ? JSON.stringify(report, undefined, 2) : describeSoak(report));
    return report.passed ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${soakUsage}`);
    return 2;
  }
}

if (import.meta.main) process.exitCode = await soakMain(process.argv.slice(2), (line) => console.error(line));
