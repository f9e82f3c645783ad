/**
 * What the store and its thread say to each other: one message each way for all that a turn of the event loop asked. Everything is flat
 * (numbers and texts in one array, all answers end to end in one buffer that is handed over), since structured clone costs by the object.
 */

/** Operations, each followed by its operands in `operands`. */
export const CLAIM = 0;
export const FINISH = 1;
export const FORGET = 2;

/** How many operands each has, by number: path, principal, id, mintedMs or null, payload hash, rerunUnknown; seq, bytes of the answer; seq. */
const OPERANDS: readonly number[] = [6, 2, 1];

type Operand = string | number | boolean | null;

/** Operations in order. `nowMs` is wall time. */
export interface Batch {
  readonly nowMs: number;
  readonly operands: readonly Operand[];
  readonly answers: Uint8Array;
}

/** One operation, read back. `answer` is a view of the batch's buffer. */
export type Operation =
  | {
      readonly kind: typeof CLAIM;
      readonly path: string;
      readonly principal: string;
      readonly id: string;
      readonly mintedMs: number | null;
      readonly payloadHash: string;
      readonly rerunUnknown: boolean;
    }
  | { readonly kind: typeof FINISH; readonly seq: number; readonly answer: Uint8Array }
  | { readonly kind: typeof FORGET; readonly seq: number };

/** What came of one operation. `run`: the record's number. done: finished or forgotten. taken: the record is not this owner's any more. */
export type Outcome =
  | { readonly kind: "run"; readonly seq: number }
  | { readonly kind: "answer"; readonly answer: Uint8Array }
  | { readonly kind: "conflict" | "expired" | "unknown" | "full" | "corrupt" | "done" | "taken" };

const OUTCOMES = ["run", "answer", "conflict", "expired", "unknown", "full", "corrupt", "done", "taken"] as const;

/** Two numbers an operation, in its order: the outcome's place in the list above, and the seq or the answer's bytes. */
export interface BatchReply {
  readonly outcomes: readonly number[];
  readonly answers: Uint8Array;
  readonly entries: number;
  readonly forgottenMs: number;
}

/** The transaction failed and nothing of it is kept. Fatal: the store must not go on. */
export interface BatchFailure {
  readonly text: string;
  readonly code: number | undefined;
  readonly isFatal: boolean;
}

/** Collects operations until they are sent. */
export class BatchWriter {
  private operands: Operand[] = [];
  private answers: Uint8Array[] = [];
  /** Operations collected. */
  length = 0;

  claim(
    path: string,
    principal: string,
    id: string,
    mintedMs: number | undefined,
    hash: string,
    rerunUnknown: boolean,
  ): void {
    this.operands.push(CLAIM, path, principal, id, mintedMs ?? null, hash, rerunUnknown);
    this.length += 1;
  }

  finish(seq: number, answer: Uint8Array): void {
    this.operands.push(FINISH, seq, answer.byteLength);
    this.answers.push(answer);
    this.length += 1;
  }

  forget(seq: number): void {
    this.operands.push(FORGET, seq);
    this.length += 1;
  }

  /** What was collected; it begins anew. */
  take(nowMs: number): Batch {
    const batch = { nowMs, operands: this.operands, answers: joined(this.answers) };
    this.operands = [];
    this.answers = [];
    this.length = 0;
    return batch;
  }
}

/** The operations of a batch, in order. */
export function* operationsOf({ operands, answers }: Batch): Generator<Operation> {
  let at = 0;
  let answerAt = 0;
  while (at < operands.length) {
    const kind = operands[at] as typeof CLAIM | typeof FINISH | typeof FORGET;
    if (kind === CLAIM) {
      yield {
        kind,
        path: operands[at + 1] as string,
        principal: operands[at + 2] as string,
        id: operands[at + 3] as string,
        mintedMs: operands[at + 4] as number | null,
        payloadHash: operands[at + 5] as string,
        rerunUnknown: operands[at + 6] as boolean,
      };
    } else if (kind === FINISH) {
      const answerEnd = answerAt + (operands[at + 2] as number);
      yield { kind, seq: operands[at + 1] as number, answer: answers.subarray(answerAt, answerEnd) };
      answerAt = answerEnd;
    } else {
      yield { kind, seq: operands[at + 1] as number };
    }
    at += 1 + (OPERANDS[kind] as number);
  }
}

/** Packs what came of a batch. */
export function packOutcomes(
  outcomes: readonly Outcome[],
  facts: { readonly entries: number; readonly forgottenMs: number },
): BatchReply {
  const answers: Uint8Array[] = [];
  const numbers: number[] = [];
  for (const outcome of outcomes) {
    numbers.push(OUTCOMES.indexOf(outcome.kind), operandOf(outcome));
    if (outcome.kind === "answer") answers.push(outcome.answer);
  }
  return { outcomes: numbers, answers: joined(answers), ...facts };
}

function operandOf(outcome: Outcome): number {
  if (outcome.kind === "run") return outcome.seq;
  return outcome.kind === "answer" ? outcome.answer.byteLength : 0;
}

/** What came of each operation, in order. Answers are copies: they outlive the message. */
export function* outcomesOf({ outcomes, answers }: BatchReply): Generator<Outcome> {
  let answerAt = 0;
  for (let at = 0; at < outcomes.length; at += 2) {
    const kind = OUTCOMES[outcomes[at] as number] as (typeof OUTCOMES)[number];
    const operand = outcomes[at + 1] as number;
    if (kind === "run") yield { kind, seq: operand };
    else if (kind === "answer") {
      yield { kind, answer: answers.slice(answerAt, answerAt + operand) };
      answerAt += operand;
    } else yield { kind };
  }
}

/** End to end, in a buffer of its own that can be handed over. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}
