import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Bench, type BenchHandlers, benchServer } from "../../test/calls/bench-service.ts";
import { certificateFiles } from "../../test/calls/certificate-files.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import { rawTlsClient } from "../../test/calls/raw-tls-client.ts";
import type { Priority } from "../call/method.ts";
import { createClient } from "../client/create-client.ts";
import type { ServerOptions } from "./options.ts";

const EMPTY = framed(new Uint8Array(0));
/** Doors for all would be served for 5 s more. */
const AT_ONCE = { drain: { propagationMs: 0 } };
const PRIORITIES = ["critical", "normal", "sheddable"] as const;

/** Notes what its handler sees of each call. */
function seeing(): { readonly seen: Priority[]; readonly handlers: Partial<BenchHandlers> } {
  const seen: Priority[] = [];
  return { seen, handlers: { add: (_, call) => (seen.push(call.priority), {}) } };
}

describe("how urgent a call is", () => {
  it("is not for a stranger to say over TLS: critical is normal then, sheddable is believed", async () => {
    await using files = await certificateFiles();
    const { seen, handlers } = seeing();
    await using server = benchServer(handlers, AT_ONCE);
    // Reached over loopback, but a door for all: what it knows of its callers is what their TLS says.
    const { port } = await server.listen("0.0.0.0:0", { tls: files.server });
    await using client = createClient(Bench, `127.0.0.1:${port}`, { tls: { caFile: files.caFile } });
    for (const priority of PRIORITIES) await client.add({}, { priority });
    assert.deepEqual(seen, ["normal", "normal", "sheddable"]);
  });

  it("is believed of callers with a certificate of ours, on this machine, in this process, and on a network called trusted", async () => {
    await using files = await certificateFiles();
    const { seen, handlers } = seeing();
    await using server = benchServer(handlers, AT_ONCE);
    const mutual = { ...files.server, clientCaFile: files.caFile };
    const { port } = await server.listen("0.0.0.0:0", { tls: mutual });
    const trusted = await server.listen("0.0.0.0:0", { plaintext: true });
    const local = await server.listen(0);
    await using known = createClient(Bench, `127.0.0.1:${port}`, { tls: { caFile: files.caFile, ...files.client } });
    await using inside = createClient(Bench, `127.0.0.1:${trusted.port}`);
    await using here = createClient(Bench, local.address);
    await using within = createClient(Bench, server);
    for (const client of [known, inside, here, within]) await client.add({}, { priority: "critical" });
    assert.deepEqual(seen, ["critical", "critical", "critical", "critical"]);
  });

  it("is for those alone whom the server's own rule names, be they trusted or not", async () => {
    interface User {
      readonly id: string;
    }
    const rules: readonly (readonly [ServerOptions<User>["critical"], readonly string[]])[] = [
      [["ops/*"], ["ops/ann"]],
      ["authenticated", ["ops/ann", "shop/bob"]],
      ["anyone", ["ops/ann", "shop/bob", ""]],
      [(user) => user?.id === "shop/bob", ["shop/bob"]],
      [async (user) => user?.id === "shop/bob", ["shop/bob"]],
      [() => Promise.reject(new Error("no")), []],
      [
        () => {
          throw new Error("no");
        },
        [],
      ],
    ];
    for (const [critical, expected] of rules) {
      const named: string[] = [];
      await using server = benchServer(
        {
          add: (_, call) => {
            if (call.priority === "critical") named.push(call.principal?.id ?? "");
            return {};
          },
        },
        {
          critical: critical as ServerOptions["critical"],
          authenticate: ({ metadata }) => {
            const id = metadata.get("user");
            return id === undefined ? undefined : { id };
          },
        },
        { authorize: "anyone" },
      );
      await using client = createClient(Bench, (await server.listen(0)).address);
      for (const user of ["ops/ann", "shop/bob", undefined]) {
        await client.add({}, { priority: "critical", metadata: user === undefined ? {} : { user } });
      }
      assert.deepEqual(named, expected, String(critical));
    }
  });

  it("is for those alone whom the rule names on a server that authenticates nobody, too", async () => {
    const { seen, handlers } = seeing();
    await using server = benchServer(handlers, { critical: ["ops"] });
    await using client = createClient(Bench, (await server.listen(0)).address);
    await client.add({}, { priority: "critical" });
    assert.deepEqual(seen, ["normal"]);
  });
});

describe("what a stranger says under Holdfast's own names", () => {
  it("gains nothing, and is no metadata of the call", async () => {
    await using files = await certificateFiles();
    const names: string[] = [];
    const priorities: string[] = [];
    await using server = benchServer(
      {
        add: (_, call) => {
          names.push(...[...call.metadata].map(([name]) => name));
          priorities.push(call.priority);
          return {};
        },
      },
      AT_ONCE,
    );
    const { port } = await server.listen("0.0.0.0:0", { tls: files.server });
    await using raw = await rawTlsClient(port, files);
    const answer = await raw.request("/bench.v1.Bench/Add", EMPTY, {
      "holdfast-priority": "critical",
      "holdfast-not-run": "1",
      "holdfast-reason": "DOOMED",
      "holdfast-health": "degraded",
      "holdfast-deduplicated": "1",
      "holdfast-principal": "root",
      "holdfast-trusted-bin": "AA==",
      "grpc-status": "0",
      "grpc-internal": "1",
      own: "kept",
    });
    assert.equal(answer.trailer["grpc-status"], "0");
    assert.deepEqual([names, priorities], [["own"], ["normal"]]);
    const said = Object.keys({ ...answer.header, ...answer.trailer }).filter((name) => name.startsWith("holdfast-"));
    assert.deepEqual(said, []);
  });

  it("that is no word of ours is as if it had not been said", async () => {
    const { seen, handlers } = seeing();
    await using server = benchServer(handlers);
    await using raw = await rawClient((await server.listen(0)).address);
    for (const priority of ["CRITICAL", "0", "", "critical, critical"]) {
      const { trailer } = await raw.request("/bench.v1.Bench/Add", EMPTY, { "holdfast-priority": priority });
      assert.equal(trailer["grpc-status"], "0");
    }
    assert.deepEqual(seen, ["normal", "normal", "normal", "normal"]);
  });
});
