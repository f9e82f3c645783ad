import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { CallScope, scopes } from "../../call/scope.ts";
import type { Fetch } from "../../world/node-fetch.ts";
import { protectFetch } from "./protect-fetch.ts";
import { type Rig, virtualRig } from "./testdata/virtual-work.ts";

const URL_TEXT = "http://pay.example/charges";

/** What one request comes to, after so many milliseconds: a response, or what is thrown. */
interface HttpStep {
  readonly afterMs?: number;
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly error?: unknown;
  readonly isDeaf?: boolean;
}

interface Scripted {
  readonly fetch: Fetch;
  readonly sent: { readonly url: string; readonly init: RequestInit; readonly atMs: number }[];
  /** The bodies that were given up, by number of the request. */
  readonly cancelled: number[];
}

function scripted(rig: Rig, ...steps: readonly HttpStep[]): Scripted {
  const sent: Scripted["sent"] = [];
  const cancelled: number[] = [];
  const fetch: Fetch = async (input, init = {}) => {
    const number = sent.length;
    const {
      afterMs = 1,
      status = 200,
      headers = {},
      error,
      isDeaf = false,
    } = steps[Math.min(number, steps.length - 1)] ?? {};
    sent.push({ url: String(input), init, atMs: rig.nowMs() });
    await new Promise<void>((resolve, reject) => {
      rig.world.timers.schedule(afterMs, resolve);
      if (!isDeaf) init.signal?.addEventListener("abort", () => reject(init.signal?.reason as Error));
    });
    if (error !== undefined) throw error as Error;
    const body = new ReadableStream({
      pull: (controller) => controller.enqueue(new TextEncoder().encode(`body ${number}`)),
      cancel: () => void cancelled.push(number),
    });
    return new Response(body, { status, headers });
  };
  return { fetch, sent, cancelled };
}

const refused = new TypeError("fetch failed", { cause: Object.assign(new Error("connect"), { code: "ECONNREFUSED" }) });
const reset = new TypeError("fetch failed", { cause: Object.assign(new Error("reset"), { code: "ECONNRESET" }) });

describe("a protected fetch", () => {
  it("gives the response of the first attempt that has a good one; the others' bodies are given up", async () => {
    const rig = virtualRig();
    const { fetch, sent, cancelled } = scripted(rig, { status: 503 }, { status: 502 }, { status: 200 });
    const safe = protectFetch({ name: "pay", fetch, world: rig.world });
    const response = await rig.settle(safe(URL_TEXT));
    assert.equal(response.status, 200);
    assert.equal(sent.length, 3);
    assert.deepEqual(cancelled, [0, 1]);
    assert.equal(response.bodyUsed, false);
  });

  it("gives the last response, whatever its status, when nothing better came: as fetch does", async () => {
    const rig = virtualRig();
    const { fetch, sent, cancelled } = scripted(rig, { status: 503 });
    const safe = protectFetch({ name: "pay", fetch, world: rig.world });
    const response = await rig.settle(safe(URL_TEXT));
    assert.equal(response.status, 503);
    assert.equal(sent.length, 3);
    assert.deepEqual(cancelled, [0, 1], "the one that was given can be read");
    assert.equal(sent[2]?.init.signal?.aborted, false);
  });

  it("repeats by the method's effect", async () => {
    const key = { "idempotency-key": "k" };
    const cases: readonly [RequestInit | undefined, number][] = [
      [undefined, 3],
      [{ method: "PUT", body: "x" }, 3],
      [{ method: "DELETE" }, 3],
      [{ method: "POST", headers: key, body: "x" }, 3],
      [{ method: "POST", body: "x" }, 1],
      [{ method: "PATCH", headers: key }, 1],
    ];
    for (const [init, expected] of cases) {
      for (const step of [{ status: 504 }, { error: reset }, { status: 408 }]) {
        const rig = virtualRig();
        const { fetch, sent } = scripted(rig, step);
        await rig.settle(protectFetch({ name: "pay", fetch, world: rig.world })(URL_TEXT, init).catch(() => undefined));
        assert.equal(sent.length, expected, `${JSON.stringify(init)} ${JSON.stringify(step)}`);
      }
    }
  });

  it("repeats what never reached the server whatever its effect, and says so", async () => {
    const rig = virtualRig();
    const { fetch, sent } = scripted(rig, { error: refused });
    const error = await rig.fails(protectFetch({ name: "pay", fetch, world: rig.world })(URL_TEXT, { method: "POST" }));
    assert.equal(sent.length, 4);
    assert.equal(error.code, "UNAVAILABLE");
    assert.equal(error.reached, "no");
    assert.equal(error.cause, refused);
    assert.match(error.text, /^fetch failed: connect$/);
  });

  it("never sends a body a second time that can be read once", async () => {
    const rig = virtualRig();
    const { fetch, sent } = scripted(rig, { error: refused });
    const body = new ReadableStream();
    const safe = protectFetch({ name: "pay", fetch, world: rig.world });
    await rig.fails(safe(URL_TEXT, { method: "PUT", body, duplex: "half" } as RequestInit));
    assert.equal(sent.length, 1);
  });

  it("waits as Retry-After says, for 429 too; without it, or beyond the deadline, it gives the response", async () => {
    const rig = virtualRig();
    const first = scripted(rig, { status: 429, headers: { "retry-after": "2" } }, { status: 200 });
    const safe = protectFetch({ name: "pay", fetch: first.fetch, world: rig.world });
    assert.equal((await rig.settle(safe(URL_TEXT))).status, 200);
    assert.equal(Math.floor((first.sent[1]?.atMs ?? 0) / 10), 200);
    for (const headers of [{}, { "retry-after": "3600" }]) {
      const other = virtualRig();
      const { fetch, sent } = scripted(other, { status: 429, headers });
      const response = await other.settle(protectFetch({ name: "pay", fetch, world: other.world })(URL_TEXT));
      assert.equal(response.status, 429);
      assert.equal(sent.length, 1);
      assert.ok(other.nowMs() < 10);
    }
  });

  it("leaves answers alone, and does not repeat a 500", async () => {
    for (const status of [204, 304, 400, 404, 409, 500]) {
      const rig = virtualRig();
      const { fetch, sent } = scripted(rig, { status: status === 204 || status === 304 ? 201 : status });
      await rig.settle(protectFetch({ name: "pay", fetch, world: rig.world })(URL_TEXT));
      assert.equal(sent.length, 1, String(status));
    }
  });

  it("has a gate for each host", async () => {
    const rig = virtualRig();
    const { fetch, sent } = scripted(rig, { status: 500 });
    const safe = protectFetch({ name: "pay", fetch, world: rig.world });
    for (let i = 0; i < 5; i++) await rig.settle(safe("http://ill.example/a"));
    const error = await rig.fails(safe("http://ill.example/b"));
    assert.match(
      error.text,
      /^the gate of ill\.example is shut for \d+ ms more: 5 faults in a row, the last: INTERNAL \(HTTP 500\)$/,
    );
    assert.equal((await rig.settle(safe("http://well.example/"))).status, 500);
    assert.equal(sent.length, 6);
  });

  it("copies an attempt that is overdue; the loser is aborted, and its late response is given up", async () => {
    const rig = virtualRig();
    const { fetch, sent, cancelled } = scripted(rig, { afterMs: 900, isDeaf: true }, { afterMs: 10 });
    const safe = protectFetch({ name: "pay", hedge: { afterMs: 50 }, fetch, world: rig.world });
    const response = await rig.settle(safe(URL_TEXT));
    assert.equal(
      await response.body
        ?.getReader()
        .read()
        .then(({ value }) => new TextDecoder().decode(value as Uint8Array)),
      "body 1",
    );
    assert.equal(sent[0]?.init.signal?.aborted, true);
    assert.equal(sent[1]?.init.signal?.aborted, false);
    await rig.sim.advance(1_000);
    assert.deepEqual(cancelled, [0]);
  });

  it("gives the body of a failed attempt up while a copy is awaited", async () => {
    const rig = virtualRig();
    const { fetch, cancelled } = scripted(rig, { afterMs: 100, status: 503 }, { afterMs: 100 });
    const safe = protectFetch({ name: "pay", hedge: { afterMs: 50 }, fetch, world: rig.world });
    assert.equal((await rig.settle(safe(URL_TEXT))).status, 200);
    assert.deepEqual(cancelled, [0]);
  });

  it("keeps the policy of a method that may not have it out of it, and says so", () => {
    const safe = protectFetch({ name: "pay", hedge: { afterMs: 50 } });
    assert.deepEqual(safe.$explain("GET").notes, []);
    assert.match(
      safe.$explain("POST").notes.join(),
      /^hedge is left out \(effect unknown: a copy may do the work twice\)$/,
    );
    assert.throws(() => safe.$explain("get" as "GET"), {
      name: "RangeError",
      message: /^kind must be one of GET, HEAD, .*, got "get"$/,
    });
  });

  it("refuses options that are wrong, at once", () => {
    const make = (options: object) => () => protectFetch(options as { name: string });
    assert.throws(make({}), { message: "name must be a text, got undefined" });
    assert.throws(make({ name: "a", timeoutMs: -1 }), {
      name: "RangeError",
      message: "timeoutMs must be 1..86_400_000 or Infinity, got -1",
    });
    assert.throws(make({ name: "a", effect: "none" }), { message: /unknown key "effect"/ });
    assert.throws(make({ name: "a", fallback: () => 1 }), { message: /unknown key "fallback"/ });
    assert.throws(make({ name: "a", fetch: 5 }), { message: "fetch must be a function, got 5" });
  });
});

describe("the caller's signal", () => {
  it("ends the request: the rejection is the signal's own reason", async () => {
    const rig = virtualRig();
    const { fetch, sent } = scripted(rig, { afterMs: 10_000 });
    const abort = new AbortController();
    const given = protectFetch({ name: "pay", fetch, world: rig.world })(URL_TEXT, { signal: abort.signal });
    const outcome = assert.rejects(given, (error) => error === abort.signal.reason);
    await rig.sim.advance(100);
    abort.abort(new Error("left the page"));
    await outcome;
    assert.equal(sent[0]?.init.signal?.aborted, true);
    await rig.sim.advance(60_000);
    assert.equal(sent.length, 1, "and nothing is repeated");
    assert.equal(getEventListeners(abort.signal, "abort").length, 0);
  });

  it("that is aborted already: nothing is sent", async () => {
    const rig = virtualRig();
    const { fetch, sent } = scripted(rig, {});
    const signal = AbortSignal.abort("no");
    await assert.rejects(
      rig.settle(protectFetch({ name: "pay", fetch, world: rig.world })(URL_TEXT, { signal })),
      (error) => error === "no",
    );
    assert.equal(sent.length, 0);
  });

  it("ends the wait between two attempts", async () => {
    const rig = virtualRig();
    const { fetch, sent, cancelled } = scripted(rig, { status: 503, headers: { "retry-after": "5" } });
    const abort = new AbortController();
    const given = protectFetch({ name: "pay", fetch, world: rig.world })(URL_TEXT, { signal: abort.signal });
    const outcome = assert.rejects(given, (error) => error === "enough");
    await rig.sim.advance(1_000);
    abort.abort("enough");
    await outcome;
    assert.equal(sent.length, 1);
    assert.deepEqual(cancelled, [0]);
  });

  it("and the scope of the call go on to bound the body of the response", async () => {
    const rig = virtualRig();
    const { fetch, sent } = scripted(rig, {});
    const safe = protectFetch({ name: "pay", timeoutMs: 1_000, fetch, world: rig.world });
    const abort = new AbortController();
    await rig.settle(safe(URL_TEXT, { signal: abort.signal }));
    assert.equal(getEventListeners(abort.signal, "abort").length, 0, "no listener of ours is left");
    await rig.sim.advance(60_000);
    assert.equal(sent[0]?.init.signal?.aborted, false, "the timeout ended with the head");
    abort.abort();
    assert.equal(sent[0]?.init.signal?.aborted, true);
    const scope = new CallScope(rig.world.clock);
    await rig.settle(scopes.run(scope, () => safe(URL_TEXT)));
    scope.cancel(new Error("the handler is gone"));
    assert.equal(sent[1]?.init.signal?.aborted, true);
  });
});

it("what is no HTTP request goes straight to fetch, which says what is wrong with it", async () => {
  const safe = protectFetch({ name: "pay" });
  await assert.rejects(safe("not a url"), { name: "TypeError" });
  assert.equal(await (await safe("data:text/plain,hi")).text(), "hi");
});

it("with real sockets: a server that is not there, then one that breaks off, then one that answers", async () => {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(`${request.method}`);
    if (seen.length === 1) request.socket.destroy();
    else response.end("hello");
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const safe = protectFetch({ name: "real", timeoutMs: 10_000 });
  const response = await safe(`http://127.0.0.1:${port}/`, { method: "PUT", body: "x" });
  assert.equal(await response.text(), "hello");
  assert.deepEqual(seen, ["PUT", "PUT"]);
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  await assert.rejects(safe(`http://127.0.0.1:${port}/`, { method: "POST", body: "x" }), {
    code: "UNAVAILABLE",
    reached: "no",
    isRepeatable: true,
  });
});
