/** The goals of the wire as data, and the run that compares Holdfast with them. For people and for CI's log; never a test. */
import type { ContenderName } from "./contender.ts";
import type { BenchOptions } from "./options.ts";
import { runScenario, type Report } from "./run.ts";
import type { ScenarioName } from "./scenarios.ts";

/** One run of the verdict and what it must show. */
interface Plan {
  readonly title: string;
  readonly scenario: ScenarioName;
  readonly contenders: readonly ContenderName[];
  readonly connections?: number | undefined;
  readonly concurrencies?: readonly number[] | undefined;
  readonly goals: readonly Goal[];
}
/** A ratio of a case and its bound. */
interface Goal {
  readonly caseKey: string;
  readonly ratio: string;
  readonly atLeast?: number | undefined;
  readonly atMost?: number | undefined;
}

const pair: readonly ContenderName[] = ["holdfast", "grpc-js"];
const withFloor: readonly ContenderName[] = [...pair, "socket-floor"];
const idleConnections = 1_000;

export const plans: readonly Plan[] = [
  {
    title: "unary",
    scenario: "unary",
    contenders: withFloor,
    concurrencies: [1, 64],
    goals: [
      { caseKey: "64", ratio: "rpsOverGrpcJs", atLeast: 14 },
      { caseKey: "64", ratio: "rpsOverFloor", atLeast: 0.8 },
      { caseKey: "64", ratio: "p99OverGrpcJs", atMost: 1 / 10 },
      { caseKey: "64", ratio: "cpuOverGrpcJs", atMost: 1 / 15 },
      { caseKey: "1", ratio: "rpsOverGrpcJs", atLeast: 2.4 },
      { caseKey: "1", ratio: "rpsOverFloor", atLeast: 0.9 },
    ],
  },
  {
    title: "unary, five connections",
    scenario: "unary",
    contenders: pair,
    connections: 5,
    goals: [{ caseKey: "64", ratio: "rpsOverGrpcJs", atLeast: 12 }],
  },
  {
    title: "order",
    scenario: "order",
    contenders: pair,
    goals: [
      { caseKey: "64", ratio: "rpsOverGrpcJs", atLeast: 7 },
      { caseKey: "64", ratio: "p99OverGrpcJs", atMost: 1 / 5 },
    ],
  },
  {
    title: "open",
    scenario: "open",
    contenders: pair,
    goals: [{ caseKey: "8000", ratio: "p99OverGrpcJs", atMost: 1 / 10 }],
  },
  {
    title: "stream",
    scenario: "stream",
    contenders: pair,
    goals: ["server", "client", "bidi"].map((caseKey) => ({ caseKey, ratio: "rpsOverGrpcJs", atLeast: 10 })),
  },
  {
    title: "large",
    scenario: "large",
    contenders: [...pair, "node-http2"],
    goals: [
      { caseKey: "4", ratio: "rpsOverGrpcJs", atLeast: 1.5 },
      { caseKey: "4", ratio: "rpsOverNodeHttp2", atLeast: 1.1 },
    ],
  },
  {
    title: "tls",
    scenario: "tls",
    contenders: pair,
    goals: [
      { caseKey: "64", ratio: "rpsOverGrpcJs", atLeast: 10 },
      { caseKey: "1", ratio: "rpsOverGrpcJs", atLeast: 2.5 },
    ],
  },
  {
    title: "idle",
    scenario: "idle",
    contenders: pair,
    connections: idleConnections,
    goals: ["clientRssOverGrpcJs", "serverRssOverGrpcJs"].map((ratio) => ({
      caseKey: String(idleConnections),
      ratio,
      atMost: 0.4,
    })),
  },
];

export interface Judgement {
  readonly title: string;
  readonly goal: string;
  readonly value: number | undefined;
  readonly spread: readonly [min: number, max: number] | undefined;
  readonly passed: boolean;
}
export interface Verdict {
  readonly passed: boolean;
  readonly judgements: readonly Judgement[];
  readonly voids: readonly string[];
  readonly errors: readonly string[];
  readonly rounds: number;
  readonly reports: readonly Report[];
}

/** Runs every plan. Fewer than three rounds pass nothing. */
export async function runVerdict(options: BenchOptions, progress: (line: string) => void): Promise<Verdict> {
  const reports: Report[] = [];
  const judgements: Judgement[] = [];
  for (const plan of plans) {
    progress(`\n${plan.title}`);
    const report = await runScenario(plan.scenario, { ...options, ...settingsOf(plan) }, progress);
    reports.push(report);
    for (const goal of plan.goals) {
      const judgement = judge(plan.title, report, goal);
      progress(formatJudgement(judgement));
      judgements.push(judgement);
    }
  }
  const voids = reports.flatMap((report) => (report.void === undefined ? [] : [report.void]));
  const errors = reports.flatMap((report) => report.errors.map((error) => `${report.scenario}: ${error}`));
  const isWhole = options.rounds >= 3 && voids.length === 0 && errors.length === 0;
  const passed = isWhole && judgements.every((each) => each.passed);
  return { passed, judgements, voids, errors, rounds: options.rounds, reports };
}

/** Whether the report shows what the goal asks for; a missing ratio does not. */
export function judge(title: string, report: Pick<Report, "ratios">, goal: Goal): Judgement {
  const ratios = report.ratios[goal.caseKey];
  const ratio = ratios?.[goal.ratio];
  const value = typeof ratio === "number" ? ratio : undefined;
  const low = goal.atLeast ?? 0;
  const high = goal.atMost ?? Number.POSITIVE_INFINITY;
  const bound = goal.atLeast === undefined ? `<= ${(goal.atMost ?? 0).toPrecision(2)}` : `>= ${goal.atLeast}`;
  return {
    title,
    goal: `${goal.caseKey} ${goal.ratio} ${bound}`,
    value,
    spread: ratios?.spread[goal.ratio],
    passed: value !== undefined && value >= low && value <= high,
  };
}

function settingsOf(plan: Plan): Pick<BenchOptions, "contenders" | "connections" | "concurrencies"> {
  return { contenders: plan.contenders, connections: plan.connections, concurrencies: plan.concurrencies };
}

export function formatVerdict(verdict: Verdict): string {
  const lines = verdict.judgements.map(formatJudgement);
  const missed = verdict.judgements.filter(({ passed }) => !passed).length;
  lines.push(...verdict.errors.map((error) => `error ${error}`), ...verdict.voids.map((text) => `void  ${text}`));
  if (verdict.rounds < 3) lines.push(`void  ${verdict.rounds} rounds; a verdict needs 3`);
  lines.push(verdict.passed ? "all goals reached" : `${missed} of ${verdict.judgements.length} goals missed`);
  return lines.join("\n");
}

function formatJudgement({ title, goal, value, spread, passed }: Judgement): string {
  const text = value === undefined ? "no figure" : value.toPrecision(3);
  const range = spread === undefined ? "" : `  (${spread[0].toPrecision(3)} .. ${spread[1].toPrecision(3)})`;
  return `${passed ? "pass " : "MISS "} ${title.padEnd(24)} ${goal.padEnd(40)} ${text.padStart(9)}${range}`;
}
