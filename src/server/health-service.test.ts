import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assertFails } from "../../test/calls/failure.ts";
import { turns } from "../../test/calls/gate.ts";
import { createClient } from "../client/create-client.ts";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../schema/gen/grpc/health/v1/health_pb.ts";
import { createServer } from "./create-server.ts";
import { HealthBoard } from "./health.ts";
import {
  type HealthReply,
  HealthService,
  LISTED_SERVICES_MAX,
  NAME_LENGTH_MAX,
  WATCHES_MAX,
} from "./health-service.ts";

const SHOP = "shop.v1.Shop";

interface Rig {
  readonly board: HealthBoard;
  readonly service: HealthService;
}

function rig(): Rig {
  const board = new HealthBoard();
  board.serviceAdded(SHOP);
  return { board, service: new HealthService(board) };
}

interface Watching {
  readonly replies: AsyncIterator<HealthReply>;
  readonly leave: AbortController;
  readonly draining: AbortController;
}

function watching({ service }: Rig, name: string): Watching {
  const leave = new AbortController();
  const draining = new AbortController();
  const calls = service.watch({ service: name }, { signal: leave.signal, draining: draining.signal });
  return { replies: calls[Symbol.asyncIterator](), leave, draining };
}

async function statusOf(replies: AsyncIterator<HealthReply>): Promise<Status> {
  const { value, done } = await replies.next();
  assert.notEqual(done, true);
  return (value as HealthReply).status;
}

/** Whether it stays without a word as long as nothing happens. */
async function isSilent(next: Promise<unknown>): Promise<boolean> {
  let isSettled = false;
  void next.then(
    () => (isSettled = true),
    () => (isSettled = true),
  );
  await turns(1);
  return !isSettled;
}

describe("Check and List", () => {
  it("Check says how a service is; of one that is not known it says NOT_FOUND", () => {
    const { board, service } = rig();
    assert.equal(service.check({ service: "" }).status, Status.SERVING);
    board.setHealth(SHOP, "NOT_SERVING");
    assert.equal(service.check({ service: SHOP }).status, Status.NOT_SERVING);
    assert.throws(() => service.check({ service: "other" }), {
      code: "NOT_FOUND",
      text: 'service "other" is not known here',
    });
    assert.throws(
      () => service.check({ service: "x".repeat(10_000) }),
      ({ text }: { text: string }) => text.length < 150,
    );
  });

  it("List says it of all, and refuses above its limit", () => {
    const { board, service } = rig();
    board.serviceAdded("__proto__");
    board.setHealth(SHOP, "NOT_SERVING");
    assert.deepEqual(Object.entries(service.list().statuses), [
      ["", { status: Status.SERVING }],
      [SHOP, { status: Status.NOT_SERVING }],
      ["__proto__", { status: Status.SERVING }],
    ]);
    for (let i = 2; i < LISTED_SERVICES_MAX; i++) board.serviceAdded(`s${i}`);
    assert.equal(Object.keys(service.list().statuses).length, LISTED_SERVICES_MAX + 1);
    board.serviceAdded("one more");
    assert.throws(() => service.list(), { code: "RESOURCE_EXHAUSTED" });
  });
});

describe("a Watch", () => {
  it("says how it is at once, and then each change and nothing else", async () => {
    const one = rig();
    const { replies } = watching(one, SHOP);
    assert.equal(await statusOf(replies), Status.SERVING);
    const next = replies.next();
    one.board.checksChanged("degraded");
    one.board.setHealth("", "NOT_SERVING");
    one.board.setHealth("", "SERVING");
    one.board.setHealth(SHOP, "NOT_SERVING");
    assert.equal((await next).value.status, Status.NOT_SERVING);
    const after = replies.next();
    one.board.checksChanged("failing");
    assert.ok(await isSilent(after));
  });

  it("of a service that is not known says so, goes on, and turns when it is added", async () => {
    const one = rig();
    const { replies } = watching(one, "later");
    assert.equal(await statusOf(replies), Status.SERVICE_UNKNOWN);
    const next = replies.next();
    one.board.serviceAdded("not this one");
    assert.ok(await isSilent(next));
    one.board.serviceAdded("later");
    assert.equal((await next).value.status, Status.SERVING);
  });

  it("that is read slowly gets the latest word and no backlog; what went there and back is no word", async () => {
    const one = rig();
    const { replies } = watching(one, SHOP);
    assert.equal(await statusOf(replies), Status.SERVING);
    for (let i = 0; i < 1_001; i++) one.board.setHealth(SHOP, i % 2 === 0 ? "NOT_SERVING" : "SERVING");
    assert.equal(await statusOf(replies), Status.NOT_SERVING);
    one.board.setHealth(SHOP, "SERVING");
    one.board.setHealth(SHOP, "NOT_SERVING");
    assert.ok(await isSilent(replies.next()));
  });

  it("is forgotten when its caller leaves: while it waits, between two words, before the first", async () => {
    const one = rig();
    const waiting = watching(one, SHOP);
    await statusOf(waiting.replies);
    const next = waiting.replies.next();
    waiting.leave.abort();
    assert.deepEqual(await next, { value: undefined, done: true });
    const between = watching(one, SHOP);
    await statusOf(between.replies);
    between.leave.abort();
    assert.equal((await between.replies.next()).done, true);
    const returned = watching(one, "");
    await returned.replies.return?.();
    const gone = AbortSignal.abort();
    one.service.watch({ service: SHOP }, { signal: gone });
    assert.equal(one.service.watches, 0);
    one.board.setHealth(SHOP, "NOT_SERVING");
    assert.equal(one.service.watches, 0);
  });

  it("ends when the server goes away, after the word that it drains; a new one gets that word and the end", async () => {
    const one = rig();
    const { replies } = watching(one, SHOP);
    await statusOf(replies);
    one.board.phaseChanged("draining");
    assert.equal(await statusOf(replies), Status.NOT_SERVING);
    const last = replies.next();
    one.service.end();
    await assert.rejects(last, { code: "UNAVAILABLE", reason: "SERVER_DRAINING" });
    assert.equal((await replies.next()).done, true);
    const late = watching(one, SHOP);
    assert.equal(await statusOf(late.replies), Status.NOT_SERVING);
    await assert.rejects(late.replies.next(), { code: "UNAVAILABLE" });
    assert.equal(one.service.watches, 0);
  });

  it("ends when the server is closed, if nothing has ended it before", async () => {
    const one = rig();
    const { replies } = watching(one, SHOP);
    await statusOf(replies);
    const next = replies.next();
    one.board.phaseChanged("closed");
    assert.equal((await next).value.status, Status.NOT_SERVING);
    await assert.rejects(replies.next(), { code: "UNAVAILABLE" });
    const more = rig();
    await statusOf(watching(more, SHOP).replies);
    more.service[Symbol.dispose]();
    assert.equal(more.service.watches, 0);
    more.board.setHealth(SHOP, "NOT_SERVING");
    assert.equal(more.service.check({ service: SHOP }).status, Status.NOT_SERVING);
  });

  it("ends when its own connection drains, and the others go on", async () => {
    const one = rig();
    const [left, right] = [watching(one, ""), watching(one, "")];
    await Promise.all([statusOf(left.replies), statusOf(right.replies)]);
    const next = left.replies.next();
    left.draining.abort();
    await assert.rejects(next, { code: "UNAVAILABLE" });
    assert.equal(one.service.watches, 1);
    one.board.setHealth("", "NOT_SERVING");
    assert.equal(await statusOf(right.replies), Status.NOT_SERVING);
  });

  it("has its limits: so many, and a name that is none", () => {
    const one = rig();
    const call = { signal: new AbortController().signal };
    assert.throws(() => one.service.watch({ service: "x".repeat(NAME_LENGTH_MAX + 1) }, call), {
      code: "INVALID_ARGUMENT",
    });
    const opened: AsyncIterable<HealthReply>[] = [];
    while (opened.length < WATCHES_MAX) {
      opened.push(one.service.watch({ service: "" }, { signal: new AbortController().signal }));
    }
    assert.throws(() => one.service.watch({ service: "" }, call), { code: "RESOURCE_EXHAUSTED" });
    void opened[0]?.[Symbol.asyncIterator]().return?.();
    assert.doesNotThrow(() => one.service.watch({ service: "" }, { signal: new AbortController().signal }));
  });

  it("ten thousand of them: a change is worked out once for each service, and told to all who wait", async () => {
    const one = rig();
    let asked = 0;
    const wordOf = one.board.wordOf.bind(one.board);
    one.board.wordOf = (name) => {
      asked += 1;
      return wordOf(name);
    };
    const watches = Array.from({ length: 10_000 }, (_, index) => watching(one, index % 2 === 0 ? SHOP : ""));
    await Promise.all(watches.map(({ replies }) => statusOf(replies)));
    const next = watches.map(({ replies }) => replies.next());
    asked = 0;
    one.board.setHealth(SHOP, "NOT_SERVING");
    assert.equal(asked, 2);
    const told = await Promise.all(next.filter((_, index) => index % 2 === 0));
    assert.ok(told.every(({ value }) => (value as HealthReply).status === Status.NOT_SERVING));
    assert.ok(await isSilent(Promise.race(next.filter((_, index) => index % 2 === 1))));
  });
});

describe("over a connection", () => {
  it("a client reads Check, List and Watch, and a Watch that it leaves is forgotten", async () => {
    const one = rig();
    await using server = createServer().service(Health, one.service);
    const { port } = await server.listen(0);
    const client = createClient(Health, `localhost:${port}`);
    assert.equal((await client.check({ service: SHOP })).status, Status.SERVING);
    await assertFails(client.check({ service: "other" }), "NOT_FOUND");
    assert.deepEqual(Object.keys((await client.list({})).statuses).sort(), ["", SHOP]);
    const replies = client.watch({ service: SHOP })[Symbol.asyncIterator]();
    assert.equal((await replies.next()).value?.status, Status.SERVING);
    one.board.setHealth(SHOP, "NOT_SERVING");
    assert.equal((await replies.next()).value?.status, Status.NOT_SERVING);
    await replies.return?.();
    for (let i = 0; i < 1_000 && one.service.watches > 0; i++) await turns(1);
    assert.equal(one.service.watches, 0);
    const last = client.watch({ service: SHOP })[Symbol.asyncIterator]();
    await last.next();
    one.service.end();
    await assertFails(last.next(), "UNAVAILABLE");
    await client.$close();
  });
});
