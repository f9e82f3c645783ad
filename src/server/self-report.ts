/**
 * What a server says of itself, to whoever asks: health, reflection and debug answers as services, and its status.
 */
import type { AdmissionSnapshot } from "../policy/protect/admission.ts";
import type { AnyContract } from "../schema/contract.ts";
import { degraded } from "../wire/transport/names.ts";
import type { World } from "../world/world.ts";
import { builtIns, type BuiltIn } from "./built-ins.ts";
import { type ChecksOptions, resolveChecks } from "./check-options.ts";
import { Checks } from "./checks.ts";
import type { ConnectionFacts } from "./connection-facts.ts";
import { DebugIds, type DebugServer, type DebugSocket, type DebugSource } from "./debug-source.ts";
import { HealthBoard } from "./health.ts";
import { HealthService } from "./health-service.ts";
import { ReflectionIndex } from "./reflection-index.ts";
import type { Router } from "./router.ts";
import type { ServerCore } from "./server-core.ts";
import {
  type AdmissionStatus,
  type DoorStatus,
  type ServerState,
  type ServerStatus,
  serverStatus,
} from "./server-status.ts";

export interface SelfReportOptions {
  readonly checks: ChecksOptions | undefined;
  readonly reflection: boolean | undefined;
  readonly debug: boolean;
}

export class SelfReport {
  readonly board: HealthBoard;
  readonly checks: Checks;
  readonly #world: World;
  readonly #core: ServerCore;
  readonly #router: Router;
  readonly #health: HealthService;
  readonly #index: ReflectionIndex;
  readonly #options: SelfReportOptions;
  readonly #doors: DoorStatus[];
  #openedAtMs: number | undefined;
  #hasDebug: boolean;

  constructor(world: World, core: ServerCore, router: Router, options: SelfReportOptions) {
    this.#world = world;
    this.#core = core;
    this.#router = router;
    this.#options = options;
    this.board = new HealthBoard();
    this.checks = new Checks(world, resolveChecks(options.checks), (word) => this.board.checksChanged(word));
    this.board.checksChanged(this.checks.word);
    this.#health = new HealthService(this.board);
    this.#index = new ReflectionIndex();
    this.#doors = [];
    this.#openedAtMs = undefined;
    this.#hasDebug = false;
    const { reflection } = options;
    for (const own of builtIns({ health: this.#health, index: this.#index, reflection, debug: undefined }))
      this.#add(own);
    const tell = (): void => {
      core.healthField = this.board.isDegraded ? degraded : undefined;
    };
    this.board.onChange(tell);
    tell();
  }

  /** A service of the user's was added. */
  serviceAdded(contract: AnyContract): void {
    this.#index.add(contract);
    this.board.serviceAdded("typeName" in contract ? contract.typeName : contract.name);
  }

  /** A client of this process comes in, through no door: what the server depends on is looked at from now on. */
  dialled(): void {
    this.checks.start();
  }

  /** The server is about to open a door: what it depends on is looked at from now on. */
  async starting(): Promise<void> {
    this.checks.start();
    if (!this.#options.debug || this.#hasDebug) return;
    this.#hasDebug = true;
    const { debugBuiltIn } = await import("./debug.ts");
    const debug = debugBuiltIn(this.#debugSource());
    this.#index.add(debug.contract);
    this.#add(debug);
  }

  opened(door: DoorStatus): void {
    this.#doors.push(Object.freeze({ ...door }));
    this.#openedAtMs ??= this.#world.clock.monotonicMs();
  }

  /** Health says so, to whoever asks or watches. */
  draining(): void {
    this.board.phaseChanged("draining");
  }

  closed(): void {
    this.checks.stop();
    this.board.phaseChanged("closed");
    this.#health[Symbol.dispose]();
  }

  status(state: ServerState): ServerStatus {
    const nowMs = this.#world.clock.monotonicMs();
    const core = this.#core;
    // First: it may say that the store has failed, and health is to say so too.
    const dedup = core.once?.status();
    return serverStatus({
      nowMs,
      state,
      openedAtMs: this.#openedAtMs,
      board: this.board,
      checks: this.checks.report(),
      doors: state === "closed" ? [] : this.#doors,
      connections: core.connections.size,
      calls: {
        open: core.openCalls,
        finished: core.finishedCalls,
        refused: core.refusedCalls,
        overdue: core.overdueCalls,
      },
      methods: Array.from(this.#router.routes(), ({ figures }) => figures),
      admission:
        core.gate === undefined
          ? undefined
          : admissionStatus(core.gate.admission.snapshot(nowMs), core.gate.loopDelayMs()),
      dedup,
    });
  }

  #add({ contract, handlers, isLocalOnly }: BuiltIn): void {
    const nothing = { interceptors: [], authorize: undefined, validate: undefined, onUnknown: undefined };
    this.#router.add(contract, handlers, { ...nothing, isBuiltIn: true, isLocalOnly });
  }

  #debugSource(): DebugSource {
    const ids = new DebugIds();
    const core = this.#core;
    return {
      servers: () => [this.#debugServer(ids)],
      sockets: () =>
        [...core.connections].map((connection): DebugSocket => {
          const facts = connection.facts as ConnectionFacts;
          return {
            id: ids.of(connection),
            serverId: ids.of(this),
            localAddress: connection.socket?.localAddress ?? facts.door.address,
            remoteAddress: facts.peer.address,
            tls: connection.socket?.tls?.protocol,
            streamsStarted: facts.started,
            streamsSucceeded: facts.succeeded,
            streamsFailed: facts.failed,
            receivedAtMs: this.#wallMs(connection.receivedAtMs),
            sendWindowBytes: undefined,
            receiveWindowBytes: undefined,
          };
        }),
      channels: () => [],
    };
  }

  #debugServer(ids: DebugIds): DebugServer {
    let started = 0;
    let succeeded = 0;
    let finished = 0;
    for (const { figures } of this.#router.routes()) {
      started += figures.started;
      finished += figures.finished;
      succeeded += figures.codes.OK ?? 0;
    }
    return {
      id: ids.of(this),
      name: this.#router.services.join(", "),
      doors: this.#doors.map((door) => ({ id: ids.of(door), address: door.address })),
      started,
      succeeded,
      failed: finished - succeeded,
      lastAtMs: undefined,
    };
  }

  #wallMs(monotonicMs: number): number {
    const { clock } = this.#world;
    return clock.wallMs() - (clock.monotonicMs() - monotonicMs);
  }
}

function admissionStatus(snapshot: AdmissionSnapshot, loopDelayMs: number): AdmissionStatus {
  const [critical, normal, sheddable] = snapshot.waiting;
  return {
    concurrencyMax: snapshot.permits,
    running: snapshot.running,
    queued: { critical, normal, sheddable },
    loopDelayMs,
  };
}
