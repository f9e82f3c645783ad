/** A report of many universes, for people. */
import type { Failure, SimulateReport } from "./simulate.ts";

export function formatReport(report: SimulateReport): string {
  const { universes, calls, attempts, executions, recovered, outcomes, virtualHours, cpuSeconds, hoursPerCpuHour } =
    report;
  const ends = Object.entries(outcomes)
    .sort((left, right) => right[1] - left[1])
    .map(([code, count]) => `${code === "" ? "(process died)" : code} ${count}`);
  return [
    ...report.failures.flatMap(formatFailure),
    `${universes} universes, ${calls} calls, ${attempts} attempts, ${executions} executions, ${recovered} calls recovered`,
    `ends: ${ends.join(", ")}`,
    `${virtualHours.toFixed(2)} simulated hours in ${cpuSeconds.toFixed(1)} s of CPU: ${Math.round(hoursPerCpuHour)} simulated hours per CPU hour`,
    `${report.invariants.length} invariants judged: ${report.invariants.join(", ")}`,
    ...Object.entries(report.awaiting).map(([name, what]) => `not judged yet: ${name} (waits for ${what})`),
    report.passed ? "everything held" : `${report.failures.length} universes in which something did not hold`,
  ].join("\n");
}

function formatFailure(failure: Failure): readonly string[] {
  const { seed, invariant, atMs, text, plan, command, logTail } = failure;
  return [
    `seed ${seed}: ${invariant} does not hold at ${atMs} ms`,
    ...text.split("\n").map((line) => `  ${line}`),
    "  the network's last events (ms, what, from > to by host number, connection, bytes, check):",
    ...logTail.map((line) => `    ${line}`),
    `  the smallest plan that was found, with ${plan.faults.length} faults:`,
    `    ${JSON.stringify(plan)}`,
    "  to see it again:",
    `    ${command}`,
    "",
  ];
}
