/**
 * One vocabulary of injected faults, for tests, simulation and real systems. This is the part that machines and networks
 * can suffer; faults of calls (a status code for a share of them) belong to the layer that knows calls.
 */

/** When an injection begins, counted from the call that injects it (default 0), and how long it holds (default: for good). */
export interface InjectionTime {
  readonly atMs?: number | undefined;
  readonly forMs?: number | undefined;
}

/**
 * What to do to whom. `peer` names a host, or all hosts whose names begin with it and a slash (`shop` is `shop/0`,
 * `shop/1` ...); without it, all. `share` is the part of segments (of connections, for `reset` and `truncate` without
 * `forMs`) that suffers, 0 to 1, default 1.
 *
 * - `crash`: the process is killed; its kernel ends or resets its connections. `isMachine`: the machine loses power and
 *   nobody is told. It starts again after `forMs`, else when told to.
 * - `restart`: `crash`, and the start after `forMs` (default 1,000).
 * - `freeze`: nothing of the process runs; its kernel goes on. `stall` is the same for `stallMs`.
 * - `delay`: segments travel longer; what is behind them waits. `drop`: they are lost, and TCP sends them again.
 * - `corrupt`: one bit changes. `reset`: the connection breaks. `truncate`: it ends in the middle of a segment.
 * - `partition`: nothing passes between the two; `isOneWay`: nothing from the first to the second.
 * - `clock-jump`: the wall clock jumps, and back after `forMs`.
 */
export type NetworkInjection = InjectionTime &
  (
    | { readonly kind: "crash"; readonly peer: string; readonly isMachine?: boolean | undefined }
    | { readonly kind: "freeze" | "restart"; readonly peer: string }
    | {
        readonly kind: "delay";
        readonly peer?: string | undefined;
        readonly delayMs: number;
        readonly share?: number | undefined;
      }
    | {
        readonly kind: "reset" | "drop" | "corrupt" | "truncate";
        readonly peer?: string | undefined;
        readonly share?: number | undefined;
      }
    | {
        readonly kind: "partition";
        readonly between: readonly [string, string];
        readonly isOneWay?: boolean | undefined;
      }
    | { readonly kind: "stall"; readonly peer: string; readonly stallMs: number }
    | { readonly kind: "clock-jump"; readonly peer: string; readonly byMs: number }
  );

/** Whether an injection's `peer` means this host. */
export function isMeant(pattern: string | undefined, hostName: string): boolean {
  return pattern === undefined || pattern === hostName || hostName.startsWith(`${pattern}/`);
}
