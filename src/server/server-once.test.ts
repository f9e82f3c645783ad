/**
 * Calls of effect once, end to end: each rule of docs/dedup.md by name, at a server on loopback.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createClient, createServer, RpcError } from "holdfast";
import { createFaultProxy } from "holdfast/chaos";
import { assertFails } from "../../test/calls/failure.ts";
import { aborted, gate, turns } from "../../test/calls/gate.ts";
import { OnceProbe, onceHandlers, onceServer, seenJournal, startOnce } from "../../test/calls/kept-calls.ts";
import { manualWorld } from "../../test/calls/manual-world.ts";
import { callIdText, mintCallId } from "../call/ids.ts";
import { probeRequest, rawCall } from "../../test/calls/raw-once.ts";
import { Probe } from "../../test/simulation/probe-cluster.ts";

const body = (text: string): Uint8Array => Buffer.from(text);
const key = (idempotencyKey: string): { readonly idempotencyKey: string } => ({ idempotencyKey });

describe("a repeat of a once call", () => {
  it("with another payload is refused as KEY_CONFLICT, while the first runs and after it, and nothing runs", async () => {
    const release = gate();
    const began = gate();
    let runs = 0;
    await using pair = await startOnce({
      async unary(request) {
        runs += 1;
        began.open();
        await release.opened;
        return { body: request.body };
      },
    });
    const first = pair.client.unary({ body: body("tea") }, key("order-1"));
    await began.opened;
    for (const moment of ["running", "finished"]) {
      const error = await assertFails(pair.client.unary({ body: body("milk") }, key("order-1")), "FAILED_PRECONDITION");
      assert.equal(error.reason, "KEY_CONFLICT", moment);
      release.open();
      await first;
    }
    assert.equal(runs, 1);
  });

  it("that comes while the first runs waits for its answer, in any number, and the handler runs once", async () => {
    const release = gate();
    const began = gate();
    let runs = 0;
    await using pair = await startOnce({
      async unary() {
        runs += 1;
        began.open();
        await release.opened;
        return { body: body(`run ${runs}`) };
      },
    });
    const other = pair.connect();
    const first = pair.client.unary({}, key("k"));
    await began.opened;
    const repeats = Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? other : pair.client).unary({}, key("k")));
    await turns(20);
    release.open();
    for (const reply of await Promise.all([first, ...repeats]))
      assert.equal(Buffer.from(reply.body).toString(), "run 1");
    assert.equal(runs, 1);
    assert.equal(pair.server.status().dedup?.counts.running, 0);
  });

  it("that comes after it gets the same reply, headers and trailers, and the server counts it as saved by dedup", async () => {
    let runs = 0;
    await using pair = await startOnce({
      unary({ body: given }, call) {
        runs += 1;
        call.setHeader("x-run", `${runs}`);
        call.setTrailer("x-bin", body("trailer"));
        return { body: given };
      },
    });
    const saved: (string | undefined)[] = [];
    pair.server.on("call.ended", ({ record }) => saved.push(record.savedBy));
    const seen: string[] = [];
    for (let i = 0; i < 3; i++) {
      const answer = await rawCall(pair.address, { id: "k", payload: probeRequest("tea") });
      const { "x-run": run, "x-bin": trailer, "holdfast-deduplicated": mark, ...rest } = answer.fields;
      seen.push(`${String(run)} ${String(trailer)} ${String(mark)} ${String(rest["grpc-status"])} ${answer.payload}`);
    }
    assert.equal(runs, 1);
    const first = `1 ${Buffer.from("trailer").toString("base64").replaceAll("=", "")}`;
    const reply = seen[0]?.split(" ").at(-1) ?? "";
    assert.deepEqual(seen, [`${first} undefined 0 ${reply}`, `${first} 1 0 ${reply}`, `${first} 1 0 ${reply}`]);
    assert.deepEqual(saved, [undefined, "dedup", "dedup"]);
  });

  it("of a failure gets the failure again: code, text, details and metadata", async () => {
    let runs = 0;
    await using pair = await startOnce({
      unary: () => {
        runs += 1;
        throw new RpcError("NOT_FOUND", `no tea, run ${runs}`, { metadata: { "x-why": "sold" }, retryAfterMs: 70 });
      },
    });
    for (let i = 0; i < 3; i++) {
      const error = await assertFails(pair.client.unary({}, key("k")), "NOT_FOUND");
      assert.deepEqual([error.text, error.metadata.get("x-why"), error.retryAfterMs], ["no tea, run 1", "sold", 70]);
    }
    assert.equal(runs, 1);
  });

  it("of what is no error gets UNKNOWN again; a reply that cannot be encoded INTERNAL", async () => {
    let runs = 0;
    await using pair = await startOnce({
      unary: ({ body: given }) => {
        runs += 1;
        if (given.length === 0) throw new TypeError("secret");
        return { body: 5 } as never;
      },
    });
    for (let i = 0; i < 2; i++) {
      const error = await assertFails(pair.client.unary({}, key("a")), "UNKNOWN");
      assert.doesNotMatch(error.text, /secret/);
      await assertFails(pair.client.unary({ body: body("x") }, key("b")), "INTERNAL");
    }
    assert.equal(runs, 2);
    assert.equal(pair.server.status().dedup?.counts.running, 0);
  });

  it("by another principal is another call", async () => {
    const ran: string[] = [];
    await using pair = await startOnce(
      {
        unary: (_, call) => {
          ran.push(call.principal?.id ?? "");
          return { body: body(call.principal?.id ?? "") };
        },
      },
      { server: { authenticate: (call) => ({ id: String(call.metadata.get("x-who")) }) } },
    );
    for (const who of ["alice", "bob", "alice", "bob"]) {
      const reply = await pair.client.unary({}, { ...key("order-1"), metadata: { "x-who": who } });
      assert.equal(Buffer.from(reply.body).toString(), who);
    }
    assert.deepEqual(ran, ["alice", "bob"]);
  });

  it("whose id is older than what the journal remembers is refused as OUTCOME_UNKNOWN, and not run", async () => {
    const world = manualWorld();
    let runs = 0;
    await using server = onceServer({ unary: () => ({ body: body(`${(runs += 1)}`) }) }, { world });
    const { address } = await server.listen(0);
    const words = { id0: 0, id1: 0, id2: 0, id3: 0 };
    const dayAgoMs = world.clock.wallMs() - 86_400_001;
    mintCallId({ ...world, clock: { ...world.clock, wallMs: () => dayAgoMs } }, words);
    const id = callIdText(words);
    const { fields } = await rawCall(address, { id, payload: body("") });
    assert.deepEqual([fields["grpc-status"], fields["holdfast-reason"]], ["10", "OUTCOME_UNKNOWN"]);
    assert.equal(fields["holdfast-not-run"], undefined);
    assert.equal(runs, 0);
  });
});

describe("a caller of a once call that", () => {
  it("vanishes while the handler runs does not stop it: a repeat attaches and gets the answer", async () => {
    const release = gate();
    const began = gate();
    let isAborted = false;
    let runs = 0;
    await using pair = await startOnce({
      async unary(_, call) {
        runs += 1;
        call.signal.addEventListener("abort", () => {
          isAborted = true;
        });
        began.open();
        await release.opened;
        return { body: body("done") };
      },
    });
    const leaving = pair.connect();
    const first = assertFails(leaving.unary({}, key("k")), "UNAVAILABLE");
    await began.opened;
    await leaving.$close({ timeoutMs: 0 });
    await first;
    await turns(20);
    assert.equal(isAborted, false);
    const repeat = pair.client.unary({}, key("k"));
    await turns(20);
    release.open();
    assert.equal(Buffer.from((await repeat).body).toString(), "done");
    assert.equal(runs, 1);
  });

  it("loses its connection repeats over another and gets the first answer, saved by dedup", async () => {
    const release = gate();
    const began = gate();
    let runs = 0;
    await using pair = await startOnce({
      async unary() {
        runs += 1;
        began.open();
        await release.opened;
        return { body: body(`${runs}`) };
      },
    });
    const port = Number(pair.address.split(":")[1]);
    await using proxy = createFaultProxy({
      listen: { host: "127.0.0.1", port: 0 },
      target: { host: "127.0.0.1", port },
    });
    const place = await proxy.listen();
    await using client = createClient(OnceProbe, `${place.host}:${place.port}`);
    const saved: (string | undefined)[] = [];
    client.$on("call.ended", ({ record }) => saved.push(record.savedBy));
    // What was said on the connection is known then.
    await client.seen({});
    const call = client.unary({}, { timeoutMs: 20_000 });
    await began.opened;
    proxy.cut();
    await turns(50);
    release.open();
    assert.equal(Buffer.from((await call).body).toString(), "1");
    assert.deepEqual([runs, saved.at(-1)], [1, "dedup"]);
  });

  it("comes back after its deadline gets what the handler that ignored it has answered", async () => {
    const world = manualWorld();
    const release = gate();
    const began = gate();
    await using pair = await startOnce(
      {
        async unary() {
          began.open();
          await release.opened;
          return { body: body("late") };
        },
      },
      { server: { world }, client: { world } },
    );
    const late = assertFails(pair.client.unary({}, { ...key("k"), timeoutMs: 100 }), "DEADLINE_EXCEEDED");
    await began.opened;
    world.advance(200);
    await late;
    assert.equal(pair.server.status().dedup?.counts.running, 1);
    const repeat = pair.client.unary({}, { ...key("k"), timeoutMs: 50_000 });
    await turns(20);
    release.open();
    assert.equal(Buffer.from((await repeat).body).toString(), "late");
    assert.equal(pair.server.status().dedup?.counts.running, 0);
  });

  it("gives no id, as other gRPC clients, is served and not kept", async () => {
    let runs = 0;
    await using pair = await startOnce({ unary: () => ({ body: body(`${(runs += 1)}`) }) });
    for (let i = 0; i < 2; i++) {
      const { fields } = await rawCall(pair.address, { id: undefined, payload: body("") });
      assert.deepEqual([fields["grpc-status"], fields["holdfast-dedup"]], ["0", undefined]);
    }
    assert.equal(runs, 2);
    assert.equal(pair.server.status().dedup?.counts.entries, 0);
  });
});

describe("a server with methods of effect once", () => {
  it("keeps no streams, and says in every answer to a request with an id which store it has", async () => {
    await using pair = await startOnce({});
    const status = pair.server.status().dedup;
    assert.equal(status?.scope, "process");
    for (const path of ["Unary", "Seen", "Missing"]) {
      const { fields } = await rawCall(pair.address, { id: `${path}-1`, payload: body(""), method: path });
      assert.equal(fields["holdfast-dedup"], `${status?.storeId} process`, path);
    }
    const replies: number[] = [];
    for (let i = 0; i < 2; i++)
      for await (const { index } of pair.client.download({ replyCount: 2 }, key("stream"))) replies.push(index);
    assert.deepEqual(replies, [0, 1, 0, 1]);
    assert.equal(pair.server.status().dedup?.counts.entries, 1);
  });

  it("refuses a repeat that asks for another store, of any method, with the mark that nothing ran", async () => {
    let runs = 0;
    await using pair = await startOnce({ unary: () => ({ body: body(`${(runs += 1)}`) }) });
    const { fields } = await rawCall(pair.address, { id: "k", payload: body(""), store: "another" });
    assert.deepEqual(
      [fields["grpc-status"], fields["holdfast-reason"], fields["holdfast-not-run"]],
      ["10", "OUTCOME_UNKNOWN", "1"],
    );
    assert.equal(runs, 0);
  });

  it("refuses a repeat for its own store of a method that it does not keep: it may have run, and nobody knows", async () => {
    let runs = 0;
    const counted = { ...onceHandlers, unary: () => ({ body: body(`${(runs += 1)}`) }) };
    // The callers take the method for one of effect once; to this server it is not.
    await using server = createServer({ drain: { signals: [] } }).service(Probe, counted);
    const { address } = await server.listen(0);
    const { fields } = await rawCall(address, { id: "k", payload: body(""), store: "of a server before it" });
    assert.deepEqual([fields["grpc-status"], fields["holdfast-reason"]], ["10", "OUTCOME_UNKNOWN"]);
    await using kept = await startOnce({ download: () => [{ index: (runs += 1) }] });
    const store = kept.server.status().dedup?.storeId;
    const stream = await rawCall(kept.address, { id: "s", payload: body(""), store, method: "Download" });
    assert.deepEqual([stream.fields["grpc-status"], stream.fields["holdfast-reason"]], ["10", "OUTCOME_UNKNOWN"]);
    assert.equal(runs, 0);
  });

  it("answers a repeat under overload, and refuses new calls without a record", async () => {
    const release = gate();
    const began = gate();
    const journal = seenJournal();
    await using pair = await startOnce(
      {
        async unary({ body: given }) {
          if (given.length > 0) {
            began.open();
            await release.opened;
          }
          return { body: given };
        },
      },
      { server: { dedup: journal, admission: { concurrencyMax: 1, queueMax: 0 } } },
    );
    await pair.client.unary({}, key("kept"));
    const running = pair.client.unary({ body: body("x") }, key("running"));
    await began.opened;
    const attached = rawCall(pair.address, { id: "running", payload: probeRequest("x"), isRepeat: true });
    const { entries } = journal.snapshot();
    const refused = await assertFails(pair.client.unary({}, key("new")), "RESOURCE_EXHAUSTED");
    assert.equal(refused.reason, "ADMISSION_REFUSED");
    const repeat = await rawCall(pair.address, { id: "kept", payload: body(""), isRepeat: true });
    assert.deepEqual([repeat.fields["grpc-status"], repeat.fields["holdfast-deduplicated"]], ["0", "1"]);
    assert.equal(journal.snapshot().entries, entries);
    release.open();
    await running;
    assert.equal((await attached).fields["holdfast-deduplicated"], "1");
    assert.equal(journal.snapshot().running, 0);
  });

  it("leaves no record of a request that cannot be read, of an invalid one, or of one whose deadline has passed", async () => {
    const journal = seenJournal();
    const server = createServer({ drain: { signals: [] }, dedup: journal }).service(OnceProbe, onceHandlers, {
      validate: {
        unary: {
          "~standard": {
            version: 1,
            vendor: "test",
            validate: async () => ({ issues: [{ message: "no tea", path: ["body"] }] }),
          },
        },
      },
    });
    const { address } = await server.listen(0);
    const broken = await rawCall(address, { id: "a", payload: Buffer.from([0x0a, 0x7f]) });
    assert.notEqual(broken.fields["grpc-status"], "0");
    const invalid = await rawCall(address, { id: "b", payload: body("") });
    assert.equal(invalid.fields["grpc-status"], "3");
    await turns(5);
    assert.deepEqual([journal.snapshot().entries, journal.snapshot().running], [0, 0]);
    await server.close({ timeoutMs: 0 });
    assert.equal(journal.closings, 0, "the journal belongs to whoever made it");
  });

  it("runs nothing when the store fails before the handler, and says so as not run", async () => {
    let runs = 0;
    for (const claim of [
      () => {
        throw new RpcError("UNAVAILABLE", "no disk");
      },
      () => Promise.reject(new RpcError("UNAVAILABLE", "no disk")),
    ]) {
      const dedup = seenJournal(() => ({ claim }));
      await using pair = await startOnce({ unary: () => ({ body: body(`${(runs += 1)}`) }) }, { server: { dedup } });
      const error = await assertFails(pair.client.unary({}, key("k")), "UNAVAILABLE");
      assert.equal(error.reached, "no");
    }
    assert.equal(runs, 0);
  });

  it("says OUTCOME_UNKNOWN when the answer could not be kept, whether the handler answered or failed", async () => {
    for (const isFailing of [false, true]) {
      const dedup = seenJournal(() => ({ finish: () => Promise.reject(new RpcError("UNAVAILABLE", "full disk")) }));
      await using pair = await startOnce(
        {
          unary: () => {
            if (isFailing) throw new RpcError("NOT_FOUND", "no tea");
            return {};
          },
        },
        { server: { dedup } },
      );
      const error = await assertFails(pair.client.unary({}, key("k")), "ABORTED");
      assert.deepEqual([error.reason, error.reached], ["OUTCOME_UNKNOWN", "maybe"]);
    }
  });

  it("says so when a store's finish throws at once", async () => {
    const dedup = seenJournal(() => ({
      finish: () => {
        throw new TypeError("a store with a bug");
      },
    }));
    await using pair = await startOnce({ unary: () => ({}) }, { server: { dedup } });
    const error = await assertFails(pair.client.unary({}, { ...key("k"), timeoutMs: 5_000 }), "ABORTED");
    assert.equal(error.reason, "OUTCOME_UNKNOWN");
  });

  it("refuses a journal whose id no header can carry", async () => {
    const dedup = seenJournal(() => ({ storeId: "two words" }));
    const server = onceServer({}, { dedup });
    await assert.rejects(server.listen(0), /a dedup store's id must be 1..64 printable ASCII characters/);
    await server.close({ timeoutMs: 0 });
  });

  it("in this process has said which store it has by its first answer", async () => {
    await using server = onceServer({ unary: () => ({}) });
    await using client = createClient(OnceProbe, server);
    await client.unary({});
    assert.match(String(client.$explain("unary")), /its dedup journal has scope process/);
  });

  it("that has cut its calls still keeps what their handlers answer", async () => {
    const release = gate();
    const began = gate();
    const journal = seenJournal();
    const pair = await startOnce(
      {
        async unary(_, call) {
          began.open();
          await Promise.race([release.opened, aborted(call.signal)]);
          return {};
        },
      },
      { server: { dedup: journal } },
    );
    const cut = assertFails(pair.client.unary({}, key("k")), "UNAVAILABLE");
    await began.opened;
    await pair.server.close({ timeoutMs: 0 });
    await cut;
    await turns(10);
    assert.deepEqual([journal.snapshot().running, journal.snapshot().entries], [0, 1]);
    await pair[Symbol.asyncDispose]();
  });
});
