import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Interceptor, RpcError } from "holdfast";
import { all, Bench, benchHandlers, startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { gate } from "../../test/calls/gate.ts";
import { createClient } from "../client/create-client.ts";
import { BadRequestSchema } from "../schema/details.ts";
import { createServer, type Server, type ServiceOptions } from "./create-server.ts";
import type { RequestSchema, SchemaIssue, SchemaVerdict } from "./validate.ts";

type Validate = NonNullable<ServiceOptions<typeof Bench>["validate"]>;
const plain: Interceptor = (next) => (call) => next(call);
const BOTH = [[], [plain]] as const;

/** A Standard Schema made by hand. */
function schema<T>(validate: (value: T) => SchemaVerdict | Promise<SchemaVerdict>): RequestSchema<T> {
  return { "~standard": { version: 1, vendor: "test", validate: validate as never } };
}
function issues(...found: readonly SchemaIssue[]): SchemaVerdict {
  return { issues: found };
}
/** Below `max`, else its fields say so. */
const below = (max: number) =>
  schema<{ readonly a: number; readonly b: number }>((value) => {
    const found = (["a", "b"] as const)
      .filter((name) => value[name] >= max)
      .map((name) => ({ message: `must be below ${max}`, path: [name] }));
    return found.length === 0 ? { value } : issues(...found);
  });
const shortText = schema<{ readonly text: string }>((value) =>
  value.text.length <= 3 ? { value } : issues({ message: "is too long", path: [{ key: "text" }] }),
);

/** A client of a server with this `validate`, and how often a handler ran or got a message. */
async function serve(
  validate: Validate,
  interceptors: readonly Interceptor[],
): Promise<AsyncDisposable & { readonly client: ReturnType<typeof clientOf>; readonly met: string[] }> {
  const met: string[] = [];
  const server: Server = createServer({ interceptors, drain: { signals: [] } }).service(
    Bench,
    {
      ...benchHandlers,
      add: ({ a, b }) => (met.push("add"), { result: a + b }),
      *down({ count }) {
        met.push("down");
        for (let index = 0; index < count; index++) yield { index };
      },
      async up(items) {
        let result = 0;
        for await (const { text } of items) {
          met.push(text);
          result += 1;
        }
        return { result };
      },
      async *both(items) {
        for await (const { text } of items) {
          met.push(text);
          yield { text };
        }
      },
    },
    { validate },
  );
  const client = clientOf((await server.listen(0)).address);
  return {
    client,
    met,
    async [Symbol.asyncDispose]() {
      await client.$close({ timeoutMs: 0 });
      await server.close({ timeoutMs: 0 });
    },
  };
}
const clientOf = (address: string) => createClient(Bench, address, { policy: { retry: false, hedge: false } });

function violationsOf(error: RpcError): readonly (readonly [field: string, description: string])[] {
  const { fieldViolations = [] } = error.detail(BadRequestSchema) ?? {};
  return fieldViolations.map(({ field, description }) => [field, description]);
}
async function* items(...texts: readonly string[]): AsyncGenerator<{ text: string }> {
  for (const text of texts) yield { text };
}

describe("a request that its schema refuses", () => {
  it("is INVALID_ARGUMENT with a violation for each field, and meets no handler; behind interceptors too", async () => {
    for (const interceptors of BOTH) {
      await using rig = await serve({ add: below(10) }, interceptors);
      assert.equal((await rig.client.add({ a: 1, b: 2 })).result, 3);
      const error = await assertFails(rig.client.add({ a: 10, b: 99 }), "INVALID_ARGUMENT");
      assert.equal(error.text, "a: must be below 10; b: must be below 10");
      assert.deepEqual(violationsOf(error), [
        ["a", "must be below 10"],
        ["b", "must be below 10"],
      ]);
      assert.deepEqual(rig.met, ["add"]);
    }
  });

  it("may be found out later: the handler waits for a schema that gives a promise", async () => {
    for (const interceptors of BOTH) {
      const answer = gate();
      const late = schema<{ readonly a: number }>(async (value) => {
        await answer.opened;
        return value.a === 1 ? { value } : issues({ message: "must be 1", path: ["a"] });
      });
      await using rig = await serve({ add: late }, interceptors);
      const calls = [rig.client.add({ a: 1 }), assertFails(rig.client.add({ a: 2 }), "INVALID_ARGUMENT")] as const;
      await rig.client.echo({});
      assert.deepEqual(rig.met, []);
      answer.open();
      await Promise.all(calls);
      assert.deepEqual(rig.met, ["add"]);
    }
  });

  it("may be the one of a reply stream", async () => {
    for (const interceptors of BOTH) {
      const few = schema<{ readonly count: number }>((value) =>
        value.count < 3 ? { value } : issues({ message: "are too many", path: ["count"] }),
      );
      await using rig = await serve({ down: few }, interceptors);
      assert.equal((await all(rig.client.down({ count: 2 }))).length, 2);
      const error = await assertFails(all(rig.client.down({ count: 3 })), "INVALID_ARGUMENT");
      assert.deepEqual([violationsOf(error), rig.met], [[["count", "are too many"]], ["down"]]);
    }
  });

  it("may be any message of a request stream: those before it arrive, it does not, and the call ends", async () => {
    for (const interceptors of BOTH) {
      for (const isLate of [false, true]) {
        const text = isLate
          ? schema<{ readonly text: string }>(async (value) => shortText["~standard"].validate(value))
          : shortText;
        await using rig = await serve({ up: text, both: text }, interceptors);
        assert.equal((await rig.client.up(items("a", "b"))).result, 2);
        const error = await assertFails(rig.client.up(items("c", "long", "d")), "INVALID_ARGUMENT");
        assert.deepEqual(violationsOf(error), [["text", "is too long"]]);
        const replies: string[] = [];
        const talk = async (): Promise<void> => {
          for await (const reply of rig.client.both(items("e", "longer", "f"))) replies.push(reply.text);
        };
        await assertFails(talk(), "INVALID_ARGUMENT");
        assert.deepEqual([replies, rig.met], [["e"], ["a", "b", "c", "e"]]);
      }
    }
  });
});

describe("what a schema says", () => {
  it("names nested fields with dots, and tells a hundred violations of more, three of them in the text", async () => {
    const many = Array.from({ length: 150 }, (_, i) => ({ message: "is wrong", path: ["lines", i, { key: "sku" }] }));
    await using rig = await serve({ add: schema(() => issues(...many)) }, []);
    const error = await assertFails(rig.client.add({}), "INVALID_ARGUMENT");
    assert.equal(error.text, "lines.0.sku: is wrong; lines.1.sku: is wrong; lines.2.sku: is wrong and 147 more");
    assert.equal(violationsOf(error).length, 100);
  });

  it("of the whole message names no field", async () => {
    await using rig = await serve({ add: schema(() => issues({ message: "a and b differ" })) }, []);
    const error = await assertFails(rig.client.add({}), "INVALID_ARGUMENT");
    assert.deepEqual([error.text, violationsOf(error)], ["a and b differ", [["", "a and b differ"]]]);
  });

  it("by throwing, rejecting or with nonsense ends the call, and tells its caller nothing of it", async () => {
    const secret = (): never => {
      throw new Error("secret");
    };
    const wrong: readonly RequestSchema[] = [
      schema(secret),
      schema(async () => secret()),
      schema(() => undefined as never),
      schema(() => "secret" as never),
      schema(async () => null as never),
      schema(() => ({ issues: [null] }) as never),
      schema(() => ({ issues: "secret" }) as never),
      schema(() => ({ issues: [{ message: "secret", path: [Symbol("secret"), null] }] }) as never),
      schema(() => ({ issues: [{ message: { secret: 5 } }] }) as never),
    ];
    for (const interceptors of BOTH) {
      for (const [index, one] of wrong.entries()) {
        await using rig = await serve({ add: one as never, up: one as never }, interceptors);
        for (const call of [rig.client.add({}), rig.client.up(items("a"))]) {
          const error = await assertFails(call, "UNKNOWN");
          assert.match(error.text, /^the handler failed \(call/, String(index));
        }
        assert.deepEqual(rig.met, []);
      }
    }
  });

  it("changes nothing: the handler gets the message as it came", async () => {
    await using rig = await serve({ add: schema(() => ({ value: { a: 100, b: 100 } })) }, []);
    assert.equal((await rig.client.add({ a: 1, b: 2 })).result, 3);
  });
});

describe("the option validate", () => {
  it("is a TypeError for an unknown method and for what is no schema", () => {
    const add = (validate: unknown) => () =>
      createServer().service(Bench, benchHandlers, { validate: validate as Validate });
    assert.throws(add({ adds: below(1) }), /TypeError: .*adds/);
    for (const wrong of [null, 5, {}, () => true, { "~standard": { validate: 5 } }]) {
      assert.throws(add({ add: wrong }), /TypeError: .*add.* must be a Standard Schema/);
    }
    assert.throws(add(5), TypeError);
    assert.doesNotThrow(add({ add: undefined }));
  });

  it("takes schemas that are functions, as ArkType's are", async () => {
    const callable = Object.assign(() => true, below(10));
    await using pair = await startPair();
    const server = createServer({ drain: { signals: [] } }).service(Bench, benchHandlers, {
      validate: { add: callable },
    });
    await using client = createClient(Bench, server);
    assert.equal((await client.add({ a: 1 })).result, (await pair.client.add({ a: 1 })).result);
    await assertFails(client.add({ a: 10 }), "INVALID_ARGUMENT");
    await server.close({ timeoutMs: 0 });
  });
});
