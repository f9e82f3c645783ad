/**
 * The dedup store in a file, as the server sees it: what runs in this process, and the batches that go to the thread. A turn's
 * operations leave in one message; none is acknowledged before the transaction that carries it is durable. Contract: dedup-store.ts.
 *
 * Two processes may share the file. What another one runs is `unknown` here: its answer cannot be waited for, and the same id may be
 * asked again.
 */
import { RpcError } from "../call/error.ts";
import type { World } from "../world/world.ts";
import type { DatabaseSync } from "../world/node-database.ts";
import type { DedupClaim, DedupEntry, DedupKey, DedupSnapshot, DedupStore } from "./dedup-store.ts";
import { type BatchFailure, BatchWriter, type Outcome, outcomesOf } from "./sqlite-batch.ts";
import type { Runner, RunnerData, RunnerEvents, RunnerMessage } from "./sqlite-runner.ts";
import type { SqliteSettings } from "./sqlite-table.ts";
import { SqliteTransactions } from "./sqlite-transactions.ts";

/** Operations that wait for the disk at once. */
const WAITING_MAX = 65_536;
/** How long closing waits for the thread before it is cut. */
const CLOSE_MS = 10_000;

/** Starts the file's half. */
export type StartRunner = (data: RunnerData, events: RunnerEvents) => Runner;

type State = "idle" | "opening" | "open" | "closing" | "closed" | "failed";

/** Why nothing is done. While it is open: for a call whose answer was refused before. */
const REFUSALS: Readonly<Record<State, string>> = {
  idle: "is not open yet",
  opening: "is not open yet",
  open: "could not keep this call's answer, so that its outcome is unknown",
  closing: "is closed",
  closed: "is closed",
  failed: "has failed",
};

/** An operation on its way to the disk. */
interface Waiting {
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: RpcError) => void;
}

/** A call that this process has claimed. */
class SqliteEntry implements DedupEntry {
  readonly key: string;
  readonly payloadHash: string;
  /** What the first claim was told. */
  readonly decision: Promise<DedupClaim>;
  /** The record's number; 0 while it is being claimed. */
  seq = 0;
  state: "claiming" | "running" | "ending" | "finished" | "forgotten" | "lost" = "claiming";
  answer: Uint8Array | undefined = undefined;
  isRolledBack = false;
  /** Resolves when the transaction under way has ended. */
  transaction: Promise<void> | undefined = undefined;
  private repeats: PromiseWithResolvers<Uint8Array | undefined> | undefined = undefined;

  constructor(key: string, payloadHash: string, decision: Promise<DedupClaim>) {
    this.key = key;
    this.payloadHash = payloadHash;
    this.decision = decision;
  }

  /** For repeats that attach. */
  get outcome(): Promise<Uint8Array | undefined> {
    this.repeats ??= Promise.withResolvers();
    return this.repeats.promise;
  }

  end(state: "finished" | "forgotten" | "lost", answer: Uint8Array | undefined): void {
    this.state = state;
    this.answer = answer;
    this.repeats?.resolve(answer);
  }
}

export class SqliteDedup implements DedupStore<DatabaseSync>, AsyncDisposable {
  readonly scope = "machine";
  storeId = "";
  private readonly world: World;
  private readonly settings: SqliteSettings;
  private readonly start: StartRunner;
  private readonly transactions: SqliteTransactions;
  private readonly held = new Map<string, SqliteEntry>();
  private readonly writer = new BatchWriter();
  private state: State = "idle";
  private failure: RpcError | undefined = undefined;
  private runner: Runner | undefined = undefined;
  private readonly opened: PromiseWithResolvers<void> = Promise.withResolvers();
  private readonly ended: PromiseWithResolvers<void> = Promise.withResolvers();
  /** Whose operations are in the writer; then, batch by batch, those under way. */
  private waiting: Waiting[] = [];
  private readonly sent: Waiting[][] = [];
  private sentOperations = 0;
  private isFlushPlanned = false;
  /** A transaction of a handler waits for the thread to be idle, or has the file. */
  private isPaused = false;
  private idle: (() => void) | undefined = undefined;
  private owner = 0;
  private entries = 0;
  private forgottenMs = -Infinity;
  private operations = 0;
  private commits = 0;

  constructor(world: World, settings: SqliteSettings, start: StartRunner) {
    this.world = world;
    this.settings = settings;
    this.start = start;
    // Nobody may be listening when it fails.
    this.opened.promise.catch(() => {});
    this.transactions = new SqliteTransactions(world, settings, {
      pause: () => this.pause(),
      resume: () => this.resume(),
      fail: (error) => this.fail({ text: error.message, code: undefined, isFatal: true }, error),
      owner: () => this.owner,
    });
  }

  open(): Promise<void> {
    if (this.state !== "idle") return this.opened.promise;
    this.state = "opening";
    const token = Array.from({ length: 4 }, () => this.world.random.uint32().toString(16).padStart(8, "0")).join("");
    const events: RunnerEvents = { message: (message) => this.hear(message), ended: (error) => this.hearEnd(error) };
    try {
      this.runner = this.start({ settings: this.settings, token }, events);
      this.keepAlive();
    } catch (error) {
      this.hearEnd(error instanceof Error ? error : new Error(String(error)));
    }
    return this.opened.promise;
  }

  claim(request: DedupKey): Promise<DedupClaim> {
    if (this.state !== "open") return Promise.reject(this.refusal());
    const { path, principal, id, mintedMs, payloadHash, rerunUnknown } = request;
    const key = `${path} ${principal.length} ${principal}${id}`;
    const held = this.held.get(key);
    if (held !== undefined) return this.attach(held, request);
    if (this.waiting.length + this.sentOperations >= WAITING_MAX) return Promise.resolve({ kind: "full" });
    const { promise, resolve, reject } = Promise.withResolvers<DedupClaim>();
    const entry = new SqliteEntry(key, payloadHash, promise);
    this.held.set(key, entry);
    this.writer.claim(path, principal, id, mintedMs, payloadHash, rerunUnknown);
    const refuse = (error: RpcError): void => {
      this.held.delete(key);
      reject(error);
    };
    const decide = (outcome: Outcome): void => {
      if (outcome.kind === "run") resolve(begun(entry, outcome.seq));
      else if (outcome.kind === "done" || outcome.kind === "taken" || outcome.kind === "corrupt")
        refuse(this.damaged(id));
      else {
        this.held.delete(key);
        resolve(outcome.kind === "answer" ? outcome : { kind: outcome.kind });
      }
    };
    this.wait(decide, refuse);
    return promise;
  }

  finish(entry: DedupEntry, answer: Uint8Array): Promise<void> {
    const own = entry as SqliteEntry;
    if (own.transaction !== undefined) return own.transaction.then(() => this.finish(own, answer));
    if (own.state === "lost") return Promise.reject(this.refusal());
    if (own.state !== "running") return Promise.resolve();
    this.writer.finish(own.seq, answer);
    return this.ending(own, "finished", answer);
  }

  forget(entry: DedupEntry): Promise<void> {
    const own = entry as SqliteEntry;
    if (own.transaction !== undefined) return own.transaction.then(() => this.forget(own));
    if (own.state === "lost") return Promise.reject(this.refusal());
    if (own.state !== "running") return Promise.resolve();
    this.writer.forget(own.seq);
    return this.ending(own, "forgotten", undefined);
  }

  async transact<R>(
    entry: DedupEntry,
    work: (tx: DatabaseSync) => R | Promise<R>,
    answerOf: (result: R) => Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<R> {
    const own = entry as SqliteEntry;
    if (own.state !== "running" || own.transaction !== undefined)
      throw new TypeError("transact is for a call that runs, once at a time, and not again after it has committed");
    if (this.state !== "open") throw this.refusal();
    const { promise, resolve } = Promise.withResolvers<void>();
    own.transaction = promise;
    try {
      const { result, answer } = await this.transactions.run(own, work, answerOf, signal);
      this.end(own, "finished", answer);
      return result;
    } finally {
      own.transaction = undefined;
      resolve();
    }
  }

  close(): Promise<void> {
    if (this.state === "idle") {
      this.state = "closed";
      this.opened.reject(this.refusal());
      this.ended.resolve();
    }
    if (this.state === "opening" || this.state === "open") void this.shutDown();
    if (this.state === "failed") void this.transactions.close(this.ended.promise);
    return this.ended.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  snapshot(): DedupSnapshot {
    const { scope, storeId, entries, forgottenMs, operations, commits, failure } = this;
    const running = this.held.size;
    return {
      scope,
      storeId,
      running,
      entries,
      bytes: undefined,
      forgottenMs,
      operations,
      commits,
      failure: failure?.text,
    };
  }

  /** A repeat of what this process has claimed and not ended. */
  private attach(held: SqliteEntry, request: DedupKey): Promise<DedupClaim> {
    const isSame = held.payloadHash === request.payloadHash;
    if (held.seq !== 0)
      return Promise.resolve(isSame ? { kind: "running", answer: held.outcome } : { kind: "conflict" });
    // What it learns holds for this one too: one look at the disk for all.
    return held.decision.then((claim) => {
      if (claim.kind === "run" || !isSame) return this.claim(request);
      return claim;
    });
  }

  private ending(own: SqliteEntry, state: "finished" | "forgotten", answer: Uint8Array | undefined): Promise<void> {
    own.state = "ending";
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const lose = (error: RpcError): void => {
      this.end(own, "lost", undefined);
      reject(error);
    };
    const settle = ({ kind }: Outcome): void => {
      if (kind !== "done") return lose(this.damaged(own.key));
      this.end(own, state, answer);
      resolve();
    };
    this.wait(settle, lose);
    return promise;
  }

  private end(own: SqliteEntry, state: "finished" | "forgotten" | "lost", answer: Uint8Array | undefined): void {
    if (own.state === "lost") return;
    this.held.delete(own.key);
    own.end(state, answer);
  }

  /** The operation that the writer has taken last. */
  private wait(resolve: Waiting["resolve"], reject: Waiting["reject"]): void {
    this.waiting.push({ resolve, reject });
    this.operations += 1;
    if (this.isFlushPlanned) return;
    this.isFlushPlanned = true;
    this.world.timers.afterTurn(() => this.flush());
  }

  private flush(): void {
    this.isFlushPlanned = false;
    if (this.waiting.length === 0 || this.isPaused || this.runner === undefined || this.state === "failed") return;
    this.sent.push(this.waiting);
    if (this.sent.length === 1) this.keepAlive();
    this.sentOperations += this.waiting.length;
    this.waiting = [];
    this.runner.send(this.writer.take(this.world.clock.wallMs()));
  }

  private hear(message: RunnerMessage): void {
    if (this.state === "failed") return;
    switch (message.kind) {
      case "opened":
        this.storeId = message.storeId;
        this.owner = message.owner;
        if (this.state === "opening") this.state = "open";
        this.keepAlive();
        this.opened.resolve();
        return;
      case "failed":
        if (message.failure.isFatal || message.batches === 0) this.fail(message.failure, undefined);
        else this.refuseBatches(message.batches, this.errorOf(message.failure, undefined));
        return;
      case "done":
        this.commits += 1;
        for (const reply of message.replies) {
          const batch = this.takeSent();
          let at = 0;
          for (const outcome of outcomesOf(reply)) batch[at++]?.resolve(outcome);
          this.entries = reply.entries;
          this.forgottenMs = reply.forgottenMs;
        }
        this.rest();
        return;
    }
  }

  private refuseBatches(count: number, error: RpcError): void {
    for (let batch = 0; batch < count; batch += 1) for (const { reject } of this.takeSent()) reject(error);
    this.rest();
  }

  private takeSent(): readonly Waiting[] {
    const batch = this.sent.shift() ?? [];
    this.sentOperations -= batch.length;
    return batch;
  }

  /** Nothing is under way: who waited for that goes on. */
  private rest(): void {
    if (this.sent.length > 0) return;
    this.keepAlive();
    this.idle?.();
  }

  private async pause(): Promise<void> {
    this.isPaused = true;
    this.keepAlive();
    await this.drained();
    if (this.failure !== undefined) throw this.failure;
  }

  private resume(): void {
    this.isPaused = false;
    this.flush();
    this.keepAlive();
  }

  /** The process stays while something is on its way to the disk, as it would for a socket. */
  private keepAlive(): void {
    this.runner?.keepAlive(
      this.sent.length > 0 || this.isPaused || this.state === "opening" || this.state === "closing",
    );
  }

  /** Resolves when no batch is under way. */
  private drained(): Promise<void> {
    if (this.sent.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const before = this.idle;
      this.idle = () => {
        this.idle = undefined;
        before?.();
        resolve();
      };
    });
  }

  private async shutDown(): Promise<void> {
    const wasOpening = this.state === "opening";
    this.state = "closing";
    if (wasOpening) await this.opened.promise.catch(() => {});
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const cut = this.world.timers.schedule(CLOSE_MS, () => {
      resolve();
      void this.runner?.stop();
    });
    this.keepAlive();
    await this.transactions.close(late);
    this.isPaused = false;
    this.flush();
    await this.drained();
    this.runner?.close();
    await this.ended.promise;
    cut.cancel();
  }

  private hearEnd(error: Error): void {
    if (this.state === "closing") {
      this.state = "closed";
      this.loseAll(this.refusal());
    } else this.fail({ text: error.message, code: undefined, isFatal: true }, error);
    this.ended.resolve();
  }

  /** Nothing is acknowledged from here on, and nothing is tried again: the file is opened anew or not at all. */
  private fail(failure: BatchFailure, cause: unknown): void {
    if (this.state === "failed" || this.state === "closed") return;
    const error = this.errorOf(failure, cause);
    this.failure = error;
    this.state = "failed";
    this.opened.reject(error);
    this.loseAll(error);
    void this.runner?.stop();
  }

  private loseAll(error: RpcError): void {
    const waiting = [...this.sent.flat(), ...this.waiting];
    this.sent.length = 0;
    this.sentOperations = 0;
    this.waiting = [];
    for (const { reject } of waiting) reject(error);
    for (const entry of [...this.held.values()]) this.end(entry, "lost", undefined);
    this.idle?.();
  }

  private refusal(): RpcError {
    if (this.failure !== undefined) return this.failure;
    return new RpcError("UNAVAILABLE", `the dedup store ${this.settings.file} ${REFUSALS[this.state]}`);
  }

  private damaged(what: string): RpcError {
    return new RpcError("DATA_LOSS", `the dedup store ${this.settings.file} cannot vouch for its record of ${what}`);
  }

  private errorOf({ text, code, isFatal }: BatchFailure, cause: unknown): RpcError {
    const isDamage = code === 11 || code === 26;
    const what = isFatal ? "failed and takes nothing more" : "could not write";
    return new RpcError(
      isDamage ? "DATA_LOSS" : "UNAVAILABLE",
      `the dedup store ${this.settings.file} ${what}: ${text}`,
      { cause },
    );
  }
}

function begun(entry: SqliteEntry, seq: number): DedupClaim {
  entry.seq = seq;
  entry.state = "running";
  return { kind: "run", entry };
}
