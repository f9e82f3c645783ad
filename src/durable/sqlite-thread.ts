/**
 * The entry of the dedup store's thread. All batches that arrived while a transaction was under way go into the next one.
 */
import { nodeFileLocks } from "../world/node-database.ts";
import { workerSide } from "../world/node-worker.ts";
import type { Batch } from "./sqlite-batch.ts";
import { failureOf, openFile, type RunnerData, type RunnerMessage } from "./sqlite-runner.ts";
import { SqliteTable } from "./sqlite-table.ts";

const side = workerSide();
const { settings, token } = side.data as RunnerData;
const table = opened();
if (table !== undefined) side.receive((messages) => handle(table, messages));

function opened(): SqliteTable | undefined {
  try {
    const made = new SqliteTable(openFile(settings), nodeFileLocks, settings, token);
    say({ kind: "opened", storeId: made.storeId, owner: made.owner });
    return made;
  } catch (error) {
    say({ kind: "failed", batches: 0, failure: failureOf(error) });
    return undefined;
  }
}

/** `undefined` among the messages asks for the end; nothing is sent after it. */
function handle(open: SqliteTable, messages: readonly unknown[]): void {
  const batches = messages.filter((message): message is Batch => message !== undefined);
  if (batches.length > 0) apply(open, batches);
  if (batches.length === messages.length) return;
  open.close();
  side.close();
}

function apply(open: SqliteTable, batches: readonly Batch[]): void {
  try {
    const replies = open.apply(batches);
    side.post(
      { kind: "done", replies } satisfies RunnerMessage,
      replies.map(({ answers }) => answers.buffer as ArrayBuffer),
    );
  } catch (error) {
    const failure = failureOf(error);
    say({ kind: "failed", batches: batches.length, failure });
    // The lock goes with the thread; what was under way is undecided.
    if (failure.isFatal) side.close();
  }
}

function say(message: RunnerMessage): void {
  side.post(message, []);
}
