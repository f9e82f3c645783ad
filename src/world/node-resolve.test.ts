import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { ADDRCONFIG, type LookupOptions } from "node:dns";
import type { LookupFunction } from "node:net";
import { describe, it } from "node:test";
import type { ResolveResult } from "./network.ts";
import { createNodeResolve } from "./node-resolve.ts";

type Answer = Parameters<LookupFunction>[2];

/** A look-up that the test answers. */
class ScriptedLookup {
  readonly asked: { readonly host: string; readonly options: LookupOptions; readonly answer: Answer }[] = [];
  readonly lookup: LookupFunction = (host, options, answer) => {
    this.asked.push({ host, options, answer });
  };

  answer(index: number, ...addresses: readonly string[]): void {
    const found = addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    this.asked[index]?.answer(null, found);
  }
}

/** Collects what one asker is told. */
function collector(): { readonly told: ResolveResult[]; readonly done: (result: ResolveResult) => void } {
  const told: ResolveResult[] = [];
  return { told, done: (result) => told.push(result) };
}

/** After all ticks that wait now. */
const ticks = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("resolving by the system", () => {
  it("gives all addresses in the system's order, once and not from inside the call", async () => {
    const script = new ScriptedLookup();
    const { told, done } = collector();
    createNodeResolve(script.lookup)("two.test", done);
    script.answer(0, "::1", "127.0.0.1", "fe80::1%lo");
    assert.deepEqual(told, [], "an answer inside of the look-up is told later");
    await ticks();
    script.answer(0, "10.0.0.1");
    await ticks();
    assert.deepEqual(told, [{ addresses: ["::1", "127.0.0.1", "fe80::1%lo"] }]);
    assert.equal(script.asked[0]?.options.all, true);
  });

  it("does not look an address up, and tells it later too", async () => {
    const script = new ScriptedLookup();
    const resolve = createNodeResolve(script.lookup);
    const { told, done } = collector();
    for (const address of ["127.0.0.1", "::1", "fe80::1%lo"]) resolve(address, done);
    assert.deepEqual(told, []);
    await ticks();
    assert.deepEqual(told, [{ addresses: ["127.0.0.1"] }, { addresses: ["::1"] }, { addresses: ["fe80::1%lo"] }]);
    assert.equal(script.asked.length, 0);
  });

  it("shares a look-up among those who ask meanwhile, and asks anew afterwards", async () => {
    const script = new ScriptedLookup();
    const resolve = createNodeResolve(script.lookup);
    const first = collector();
    const second = collector();
    resolve("shop.test", first.done);
    resolve("shop.test", second.done);
    resolve("other.test", first.done);
    assert.deepEqual(
      script.asked.map(({ host }) => host),
      ["shop.test", "other.test"],
    );
    script.answer(0, "10.0.0.1");
    const third = collector();
    resolve("shop.test", third.done);
    assert.equal(script.asked.length, 3, "what was answered is asked again, as it may have changed");
    script.answer(2, "10.0.0.2");
    await ticks();
    assert.deepEqual(first.told, [{ addresses: ["10.0.0.1"] }]);
    assert.deepEqual(second.told, first.told);
    assert.deepEqual(third.told, [{ addresses: ["10.0.0.2"] }]);
  });

  it("tells nothing after a cancel, before or after the answer, and the others as before", async () => {
    const script = new ScriptedLookup();
    const resolve = createNodeResolve(script.lookup);
    const gone = collector();
    const late = collector();
    const stays = collector();
    const cancelGone = resolve("shop.test", gone.done);
    const cancelLate = resolve("shop.test", late.done);
    const cancelStays = resolve("shop.test", stays.done);
    cancelGone();
    script.answer(0, "10.0.0.1");
    cancelLate();
    await ticks();
    cancelStays();
    assert.deepEqual([gone.told, late.told], [[], []]);
    assert.deepEqual(stays.told, [{ addresses: ["10.0.0.1"] }]);
  });

  it("says why a name has no address, in the resolve phase", async () => {
    const script = new ScriptedLookup();
    const resolve = createNodeResolve(script.lookup);
    const { told, done } = collector();
    const failure = Object.assign(new Error("getaddrinfo EAI_AGAIN gone.test"), {
      code: "EAI_AGAIN",
      syscall: "getaddrinfo",
    });
    resolve("gone.test", done);
    script.asked[0]?.answer(failure, []);
    resolve("empty.test", done);
    script.answer(1);
    resolve("odd.test", done);
    script.answer(2, "not an address");
    await ticks();
    assert.deepEqual(told, [
      { error: { phase: "resolve", code: "EAI_AGAIN", text: "getaddrinfo EAI_AGAIN gone.test", cause: failure } },
      { error: { phase: "resolve", code: "ENOTFOUND", text: "empty.test: the name has no address" } },
      { error: { phase: "resolve", code: "ENOTFOUND", text: "odd.test: the name has no address" } },
    ]);
  });

  it("takes one address from a look-up that gives no list, and a throw for a failure", async () => {
    const { told, done } = collector();
    createNodeResolve((_, __, answer) => answer(null, "10.0.0.7", 4))("one.test", done);
    createNodeResolve(() => {
      throw new Error("a defect");
    })("bad.test", done);
    await ticks();
    assert.deepEqual(told[0], { addresses: ["10.0.0.7"] });
    assert.ok(told[1] !== undefined && "error" in told[1]);
    assert.equal(told[1].error.phase, "resolve");
    assert.equal(told[1].error.text, "bad.test: a defect");
  });

  it("leaves out families of which the machine has no address, but never the loopback's", () => {
    const script = new ScriptedLookup();
    const resolve = createNodeResolve(script.lookup);
    const names = ["shop.test", "notlocalhost", "localhost", "LOCALHOST.", "api.localhost"];
    for (const name of names) resolve(name, () => undefined);
    assert.deepEqual(
      script.asked.map(({ options }) => options.hints),
      [ADDRCONFIG, ADDRCONFIG, 0, 0, 0],
    );
  });

  it("calls each asker in its own async context", async () => {
    const script = new ScriptedLookup();
    const resolve = createNodeResolve(script.lookup);
    const context = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    for (const name of ["a", "b"]) context.run(name, () => resolve("shop.test", () => seen.push(context.getStore())));
    resolve("shop.test", () => seen.push(context.getStore()));
    script.answer(0, "10.0.0.1");
    await ticks();
    assert.deepEqual(seen, ["a", "b", undefined]);
  });

  it("asks the system when it is given no look-up", async () => {
    const result = await new Promise<ResolveResult>((resolve) => createNodeResolve()("localhost", resolve));
    assert.ok("addresses" in result, JSON.stringify(result));
    assert.ok(result.addresses.length > 0);
    assert.ok(result.addresses.every((address) => address === "::1" || address.startsWith("127.")));
  });
});
