/**
 * Keys of a caller's own, of callers whom nobody knows: they would share one space of keys, and one could take another's.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createServer, type Interceptor, type Server, type ServerOptions } from "holdfast";
import { type CertificateFiles, certificateFiles } from "../../test/calls/certificate-files.ts";
import { gate } from "../../test/calls/gate.ts";
import { OnceProbe, onceHandlers } from "../../test/calls/kept-calls.ts";
import { rawCall } from "../../test/calls/raw-once.ts";
import { framed } from "../../test/calls/raw-peer.ts";
import { rawTlsClient } from "../../test/calls/raw-tls-client.ts";
import { callIdText, mintCallId } from "../call/ids.ts";
import { nodeWorld } from "../world/node.ts";

const EMPTY = framed(new Uint8Array(0));
const UNARY = "/holdfast.interop.v1.Probe/Unary";
const plain: Interceptor = (next) => (call) => next(call);

function mintedId(): string {
  const words = { id0: 0, id1: 0, id2: 0, id3: 0 };
  mintCallId(nodeWorld, words);
  return callIdText(words);
}

/** A server that counts its runs, behind a TLS door for all; calls are made over a connection of their own each. */
async function open(
  files: CertificateFiles,
  options: ServerOptions<{ readonly id: string }> = {},
  asksCertificates = false,
): Promise<
  AsyncDisposable & {
    readonly server: Server<{ readonly id: string }>;
    runs(): number;
    call(headers: Readonly<Record<string, string>>, hasCertificate?: boolean): Promise<Record<string, unknown>>;
  }
> {
  let runs = 0;
  const handlers = { ...onceHandlers, unary: () => ((runs += 1), {}) };
  const server = createServer<{ readonly id: string }>({
    drain: { signals: [], propagationMs: 0 },
    ...options,
  }).service(OnceProbe, handlers, { authorize: "anyone" });
  const tls = asksCertificates ? { ...files.server, clientCaFile: files.caFile } : files.server;
  const { port } = await server.listen("0.0.0.0:0", { tls });
  return {
    server,
    runs: () => runs,
    async call(headers, hasCertificate = false) {
      await using raw = await rawTlsClient(port, files, hasCertificate);
      const answer = await raw.request(UNARY, EMPTY, headers);
      return { ...answer.header, ...answer.trailer };
    },
    [Symbol.asyncDispose]: () => server.close({ timeoutMs: 0 }).then(() => {}),
  };
}
const ownKey = { "holdfast-call-id": "order-1" } as const;
const entriesOf = (server: Server<{ readonly id: string }>): number | undefined =>
  server.status().dedup?.counts.entries;

describe("a call over TLS of a caller whom nobody knows", () => {
  it("with a key of its own is run and not kept: nobody claims another's key, or gets another's answer", async () => {
    await using files = await certificateFiles();
    for (const interceptors of [[], [plain]]) {
      await using door = await open(files, { interceptors });
      for (let stranger = 1; stranger <= 2; stranger++) {
        const fields = await door.call(ownKey);
        assert.deepEqual([fields["grpc-status"], fields["holdfast-deduplicated"]], ["0", undefined]);
        assert.equal(door.runs(), stranger);
      }
      // Neither does one of the server's own machine, who is believed.
      const { address } = await door.server.listen(0);
      await rawCall(address, { id: "order-1", payload: new Uint8Array(0) });
      assert.deepEqual([door.runs(), entriesOf(door.server)], [3, 1]);
      await door.call(ownKey);
      assert.equal(door.runs(), 4);
    }
  });

  it("with a key of its own is refused as OUTCOME_UNKNOWN when it asks for the store, and not run", async () => {
    await using files = await certificateFiles();
    for (const interceptors of [[], [plain]]) {
      await using door = await open(files, { interceptors });
      const store = String(door.server.status().dedup?.storeId);
      const fields = await door.call({ ...ownKey, "holdfast-dedup": store });
      // Without the mark that nothing ran: its caller would look for another peer with that store.
      assert.deepEqual(
        [fields["grpc-status"], fields["holdfast-reason"], fields["holdfast-not-run"], door.runs()],
        ["10", "OUTCOME_UNKNOWN", undefined, 0],
      );
    }
  });

  it("with a minted id is kept, and a repeat that asks for the store gets its answer", async () => {
    await using files = await certificateFiles();
    await using door = await open(files);
    const id = { "holdfast-call-id": mintedId() };
    await door.call(id);
    const fields = await door.call({ ...id, "holdfast-dedup": String(door.server.status().dedup?.storeId) });
    assert.deepEqual([fields["grpc-status"], fields["holdfast-deduplicated"], door.runs()], ["0", "1", 1]);
  });

  it("with an id that looks minted and is not has a key of its own", async () => {
    await using files = await certificateFiles();
    await using door = await open(files);
    for (let i = 0; i < 2; i++) await door.call({ "holdfast-call-id": "0123456789abcdef0123456789abcdef" });
    assert.deepEqual([door.runs(), entriesOf(door.server)], [2, 0]);
  });

  it("is not told that it did not run when its time ends before it is known", async () => {
    await using files = await certificateFiles();
    const never = gate();
    await using door = await open(files, { authenticate: () => never.opened.then(() => undefined) });
    const store = String(door.server.status().dedup?.storeId);
    const fields = await door.call({ ...ownKey, "holdfast-dedup": store, "grpc-timeout": "1m" });
    assert.deepEqual([fields["grpc-status"], fields["holdfast-not-run"]], ["4", undefined]);
    never.open();
  });
});

describe("a key of a caller's own is kept", () => {
  it("for a principal, also one that is found out later, and not for one that authenticate does not know", async () => {
    await using files = await certificateFiles();
    await using door = await open(files, {
      authenticate: async ({ metadata }) => {
        const id = metadata.get("user");
        return id === undefined ? undefined : { id };
      },
    });
    const store = String(door.server.status().dedup?.storeId);
    for (const headers of [ownKey, { ...ownKey, "holdfast-dedup": store }])
      await door.call({ ...headers, user: "ann" });
    assert.equal(door.runs(), 1);
    await door.call(ownKey);
    await door.call(ownKey);
    assert.deepEqual([door.runs(), entriesOf(door.server)], [3, 1]);
  });

  it("for a caller with a certificate of our authority", async () => {
    await using files = await certificateFiles();
    await using door = await open(files, {}, true);
    for (let i = 0; i < 2; i++) await door.call(ownKey, true);
    assert.equal(door.runs(), 1);
  });

  it("for callers on a network that was called trusted", async () => {
    await using files = await certificateFiles();
    await using door = await open(files);
    const { port } = await door.server.listen("0.0.0.0:0", { plaintext: true });
    for (let i = 0; i < 2; i++) await rawCall(`127.0.0.1:${port}`, { id: "order-1", payload: new Uint8Array(0) });
    assert.equal(door.runs(), 1);
  });
});
