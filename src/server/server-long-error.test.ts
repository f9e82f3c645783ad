/**
 * Errors that are longer than their caller takes: cut, and told all the same.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createClient, RpcError } from "holdfast";
import { Bench, type BenchHandlers, benchServer, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate } from "../../test/calls/gate.ts";
import { framed, rawClient } from "../../test/calls/raw-peer.ts";
import { BadRequestSchema } from "../schema/details.ts";

const ONE_ATTEMPT = { client: { policy: { retry: false, hedge: false } } } as const;
const EMPTY = framed(new Uint8Array(0));
const failing = (options: (length: number) => ConstructorParameters<typeof RpcError>): Partial<BenchHandlers> => ({
  add: ({ a }) => {
    throw new RpcError(...options(a));
  },
});

describe("an error's text that is too long", () => {
  it("is cut, keeps its code, and leaves the other calls of the connection alone", async () => {
    const release = gate();
    const began = gate();
    await using pair = await startPair(
      {
        ...failing((length) => ["ABORTED", "z".repeat(length)]),
        async echo(request) {
          began.open();
          await release.opened;
          return request;
        },
      },
      { client: { ...ONE_ATTEMPT.client, connections: { perPeerMax: 1 } } },
    );
    const { client } = pair;
    const other = client.echo({});
    await began.opened;
    for (const length of [9_000, 70_000, 300_000]) {
      const { text } = await assertFails(client.add({ a: length }), "ABORTED");
      assert.match(text, /^z{7000,7168}\u2026$/u);
    }
    assert.equal((await assertFails(client.add({ a: 7_000 }), "ABORTED")).text, "z".repeat(7_000));
    release.open();
    await other;
  });

  it("is cut to what the client has said that it takes", async () => {
    await using server = benchServer(failing(() => ["ABORTED", "z".repeat(5_000), { retryAfterMs: 70 }]));
    await using raw = await rawClient((await server.listen(0)).address, { settings: { maxHeaderListSize: 2_000 } });
    await raw.request("/bench.v1.Bench/Echo", EMPTY);
    const { header, trailer } = await raw.request("/bench.v1.Bench/Add", EMPTY);
    const fields = { ...header, ...trailer } as Readonly<Record<string, string | undefined>>;
    assert.deepEqual([fields["grpc-status"], fields["grpc-retry-pushback-ms"]], ["10", "70"]);
    assert.ok((fields["grpc-message"]?.length ?? 0) <= 2_000 - 896);
  });
});

describe("an error's metadata that is too long", () => {
  it("is left out, and its code and text are told", async () => {
    await using pair = await startPair(
      failing((length) => ["ABORTED", "no tea", { metadata: { "x-long": "m".repeat(length) } }]),
      ONE_ATTEMPT,
    );
    for (const length of [17_000, 70_000]) {
      const error = await assertFails(pair.client.add({ a: length }), "ABORTED");
      assert.deepEqual([error.text, error.metadata.get("x-long")], ["no tea", undefined]);
    }
  });
});

describe("violations that are too long", () => {
  it("are cut and left out, so that INVALID_ARGUMENT arrives with details, whatever stands in them", async () => {
    let key = "";
    let path: readonly string[] = [];
    await using server = benchServer(
      {},
      {},
      {
        validate: {
          add: {
            "~standard": {
              version: 1,
              vendor: "test",
              validate: () => ({ issues: Array.from({ length: 100 }, () => ({ message: `no key "${key}"`, path })) }),
            },
          },
        },
      },
    );
    await using client = createClient(Bench, (await server.listen(0)).address, ONE_ATTEMPT.client);
    for (const character of ["k", "\u8336", "😀", "%"]) {
      for (const length of [100, 300, 4_000, 70_000]) {
        key = character.repeat(length);
        path = ["lines", key];
        const error = await assertFails(client.add({}), "INVALID_ARGUMENT");
        assert.match(error.text, / and 97 more$/);
        const violations = error.detail(BadRequestSchema)?.fieldViolations ?? [];
        assert.ok(violations.length > 0, `${character} ${length}`);
        for (const { field, description } of violations) {
          assert.ok(field.length <= 256 && description.length <= 256);
          assert.ok(field.isWellFormed() && description.isWellFormed());
        }
      }
    }
  });
});
