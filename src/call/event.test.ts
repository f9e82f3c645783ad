import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import fc from "fast-check";
import { nodeField, nodesField, parse, ROOT, type SyntaxNode, textField } from "../../test/house/source.ts";
import { type Event, type EventMap, type EventName, eventCatalogue, Events, listenersMax } from "./event.ts";
import type { MethodInfo } from "./method.ts";
import type { Peer } from "./peer.ts";

const names = Object.keys(eventCatalogue) as (keyof EventMap)[];
const peer: Peer = { id: "a", address: "a:1", zone: undefined, version: undefined, identities: [] };
const method: MethodInfo = { service: "s", name: "m", path: "/s/M", kind: "unary", effect: "none" };
const stall = { stallMs: 120 };

/** Throws when anything of it is read. */
const untouchable = Object.defineProperty({}, "peer", {
  enumerable: true,
  get: () => assert.fail("the payload was read"),
}) as never;

describe("the catalogue of events", () => {
  it("has a line for each event of EventMap, and none besides", () => {
    assert.deepEqual([...declaredEvents().keys()], names);
    for (const line of Object.values(eventCatalogue)) assert.match(line, /^[a-z][^\n]{10,}[^.\n]$/);
  });

  it("is what docs/events.md says, with the fields that each event carries", () => {
    const text = readFileSync(join(ROOT, "docs/events.md"), "utf8");
    const [table = ""] = text.split("\n## ");
    const rows = table.split("\n").filter((line) => line.startsWith("| `"));
    const wanted = [...declaredEvents()].map(
      ([name, fields]) =>
        `| \`${name}\` | ${eventCatalogue[name as keyof EventMap]} | ${fields.map((field) => `\`${field}\``).join(", ")} |`,
    );
    assert.deepEqual(rows, wanted);
  });
});

describe("an event that nobody hears", () => {
  it("is not built: its payload is not read", () => {
    const channel = new Events();
    const client = new Events(channel);
    assert.equal(client.isHeard, false);
    for (const name of names) {
      assert.equal(client.hears(name), false);
      client.emit(name, 1, untouchable);
    }
    using _ = channel.on("suspected", () => undefined);
    assert.throws(() => client.emit("suspected", 1, untouchable), /the payload was read/);
  });

  it("is not built when somebody listens to another event", () => {
    const events = new Events();
    using _ = events.on("retry", () => assert.fail("retry was not emitted"));
    assert.equal(events.isHeard, true);
    assert.equal(events.hears("retry"), true);
    assert.equal(events.hears("suspected"), false);
    events.emit("suspected", 1, untouchable);
  });
});

describe("listeners", () => {
  it("hear their event with its name and time, in one frozen object for all", () => {
    const events = new Events();
    const heard: Event[] = [];
    using _other = events.on("retry", () => assert.fail("retry was not emitted"));
    using _first = events.on("stall", (event) => void heard.push(event));
    using _second = events.on("*", (event) => void heard.push(event));
    events.emit("stall", 7.5, stall);
    assert.deepEqual(heard[0], { name: "stall", atMs: 7.5, stallMs: 120 });
    assert.equal(heard[1], heard[0]);
    assert.ok(Object.isFrozen(heard[0]));
  });

  it("hear events in the order in which they came, whether they listen to one or to all", () => {
    const events = new Events();
    const order: number[] = [];
    const listening = (["*", "stall", "*", "stall"] as const).map((name, i) => events.on(name, () => order.push(i)));
    events.emit("stall", 0, stall);
    assert.deepEqual(order, [0, 1, 2, 3]);
    for (const one of listening) one[Symbol.dispose]();
    events.emit("stall", 0, stall);
    assert.equal(order.length, 4);
    assert.equal(events.isHeard, false);
  });

  it("are told apart by what they carry, not by the function: the same one twice hears twice, and leaves one by one", () => {
    const events = new Events();
    let heard = 0;
    const listener = (): void => void (heard += 1);
    const first = events.on("stall", listener);
    const second = events.on("stall", listener);
    events.emit("stall", 0, stall);
    assert.equal(heard, 2);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    events.emit("stall", 0, stall);
    assert.equal(heard, 3);
    second[Symbol.dispose]();
    assert.equal(events.isHeard, false);
  });

  it("have the types of their event", () => {
    const events = new Events();
    let seen: readonly [number, string | undefined, string] | undefined;
    using _retry = events.on("retry", ({ name, attempt, peer: failed }) => (seen = [attempt, failed?.id, name]));
    events.emit("retry", 0, { callId: "c", method, attempt: 2, delayMs: 0, budgetLeft: 9, peer });
    assert.deepEqual(seen, [2, "a", "retry"]);
    let all = "";
    using _all = events.on("*", (event) => (all = event.name === "hedge" ? event.peer.id : event.name));
    events.emit("hedge", 0, { callId: "c", method, afterMs: 3, peer });
    assert.equal(all, "a");
  });

  it("are at most 1,000, and one that leaves makes room", () => {
    const events = new Events();
    const listening = Array.from({ length: listenersMax }, () => events.on("stall", () => undefined));
    assert.throws(() => events.on("*", () => undefined), {
      name: "RangeError",
      message: "listeners must be at most 1000, got one more: dispose of those that are done",
    });
    listening[500]?.[Symbol.dispose]();
    assert.doesNotThrow(() => events.on("*", () => undefined));
    assert.throws(() => events.on("*", () => undefined), RangeError);
  });

  it("are refused with a precise error when the name or the function is wrong", () => {
    const events = new Events();
    const on = (name: unknown, listener: unknown) => () => events.on(name as EventName, listener as () => void);
    assert.throws(
      on("retri", () => undefined),
      /^RangeError: event must be "call.ended" or .* or "\*", got "retri" \(did you mean "retry"\?\)$/,
    );
    assert.throws(
      on("toString", () => undefined),
      RangeError,
    );
    assert.throws(
      on(undefined, () => undefined),
      /^TypeError: event must be the name of an event, or "\*", got undefined$/,
    );
    assert.throws(on("retry", 3), /^TypeError: listener must be a function, got 3$/);
    assert.throws(on("retry", undefined), /^TypeError: listener must be a function, got undefined$/);
    assert.equal(events.isHeard, false);
  });
});

describe("listeners that come and go while an event is told", () => {
  it("are not called after they were removed, not even by a listener before them", () => {
    const events = new Events();
    const order: string[] = [];
    using _first = events.on("stall", () => {
      order.push("first");
      second[Symbol.dispose]();
    });
    const second = events.on("stall", () => order.push("second"));
    using _third = events.on("stall", () => order.push("third"));
    events.emit("stall", 0, stall);
    assert.deepEqual(order, ["first", "third"]);
  });

  it("may remove themselves, and nobody after them is skipped", () => {
    const events = new Events();
    const order: string[] = [];
    const once = events.on("stall", () => {
      order.push("once");
      once[Symbol.dispose]();
    });
    using _after = events.on("stall", () => order.push("after"));
    events.emit("stall", 0, stall);
    events.emit("stall", 0, stall);
    assert.deepEqual(order, ["once", "after", "after"]);
  });

  it("hear the next event when they were added during one, so that one that adds another does not go on for ever", () => {
    const events = new Events();
    let added = 0;
    using _first = events.on("stall", () => {
      events.on("stall", () => (added += 1));
    });
    events.emit("stall", 0, stall);
    assert.equal(added, 0);
    events.emit("stall", 0, stall);
    assert.equal(added, 1);
  });

  it("may emit: the inner event is told to all before the outer one goes on", () => {
    const events = new Events();
    const order: string[] = [];
    using _first = events.on("*", ({ name }) => {
      order.push(`first ${name}`);
      if (name === "suspected") events.emit("condemned", 1, { peer, silentMs: 1 });
    });
    using _second = events.on("*", ({ name }) => order.push(`second ${name}`));
    events.emit("suspected", 0, { peer, silentMs: 0 });
    assert.deepEqual(order, ["first suspected", "first condemned", "second condemned", "second suspected"]);
  });
});

describe("a listener that throws", () => {
  it("is reported once, alone, and removed; the others hear, and who emits is not disturbed", (t) => {
    const thrown = thrownOn(t);
    const events = new Events();
    const error = new Error("on purpose");
    let heard = 0;
    using _bad = events.on("stall", () => {
      throw error;
    });
    using _good = events.on("stall", () => (heard += 1));
    assert.doesNotThrow(() => events.emit("stall", 0, stall));
    assert.equal(heard, 1);
    events.emit("stall", 0, stall);
    assert.equal(heard, 2);
    assert.deepEqual(thrown(), [error]);
  });

  it("leaves nothing behind: alone, it leaves nobody who hears", (t) => {
    const thrown = thrownOn(t);
    const events = new Events();
    const listening = events.on("*", () => {
      throw undefined;
    });
    events.emit("stall", 0, stall);
    assert.equal(events.isHeard, false);
    listening[Symbol.dispose]();
    events.emit("stall", 0, untouchable);
    assert.deepEqual(thrown(), [undefined]);
  });

  it("is reported also when it removed itself before", (t) => {
    const thrown = thrownOn(t);
    const events = new Events();
    const error = new Error("on purpose");
    const listening = events.on("stall", () => {
      listening[Symbol.dispose]();
      throw error;
    });
    events.emit("stall", 0, stall);
    assert.deepEqual(thrown(), [error]);
  });

  it("is treated alike when it is async: its rejection is thrown on once, and it is removed", async (t) => {
    const thrown = thrownOn(t);
    const events = new Events();
    const error = new Error("on purpose");
    const rejecting = Promise.reject(error);
    events.on("stall", () => rejecting as unknown as undefined);
    events.emit("stall", 0, stall);
    await assert.rejects(rejecting);
    await Promise.resolve();
    assert.equal(events.isHeard, false);
    assert.deepEqual(thrown(), [error]);
  });
});

describe("a client's events and its channel's", () => {
  it("reach the client's listeners, then the channel's; the channel's own do not reach the client's", () => {
    const channel = new Events();
    const one = new Events(channel);
    const other = new Events(channel);
    const order: string[] = [];
    using _channel = channel.on("stall", ({ atMs }) => order.push(`channel ${atMs}`));
    using _one = one.on("*", ({ atMs }) => order.push(`one ${atMs}`));
    one.emit("stall", 1, stall);
    other.emit("stall", 2, stall);
    channel.emit("stall", 3, stall);
    assert.deepEqual(order, ["one 1", "channel 1", "channel 2", "channel 3"]);
    assert.equal(other.isHeard, true);
    assert.equal(other.hears("stall"), true);
    assert.equal(other.hears("retry"), false);
  });

  it("know at every moment who hears what, over three generations, whatever comes and goes", () => {
    const step = fc.record({
      owner: fc.nat({ max: 2 }),
      name: fc.constantFrom<EventName>(...names, "*"),
      gone: fc.option(fc.nat(), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const family = [new Events()];
        for (let i = 1; i < 3; i += 1) family.push(new Events(family[i - 1]));
        const model: { owner: number; name: EventName; listening: Disposable }[] = [];
        for (const { owner, name, gone } of steps) {
          if (gone !== undefined) model.splice(gone % (model.length + 1), 1)[0]?.listening[Symbol.dispose]();
          const listening = (family[owner] as Events).on(name, () => undefined);
          model.push({ owner, name, listening });
          for (const [i, events] of family.entries()) {
            const above = model.filter((entry) => entry.owner <= i);
            assert.equal(events.isHeard, above.length > 0);
            for (const one of names)
              assert.equal(
                events.hears(one),
                above.some((entry) => entry.name === one || entry.name === "*"),
              );
          }
        }
      }),
    );
  });
});

describe("diagnostics_channel", () => {
  it("has a channel for each event, whose subscriber makes it heard, and which hears what listeners hear, once", () => {
    const client = new Events(new Events());
    for (const name of names) {
      const heard: [unknown, unknown][] = [];
      const subscriber = (message: unknown, channel: unknown): void => void heard.push([message, channel]);
      subscribe(`holdfast:${name}`, subscriber);
      try {
        assert.equal(client.isHeard, true, name);
        assert.deepEqual(
          names.filter((other) => client.hears(other)),
          [name],
        );
        client.emit(name, 5, { why: "a test" } as never);
      } finally {
        unsubscribe(`holdfast:${name}`, subscriber);
      }
      assert.deepEqual(heard, [[{ name, atMs: 5, why: "a test" }, `holdfast:${name}`]]);
      assert.equal(client.isHeard, false, name);
      client.emit(name, 5, untouchable);
    }
  });

  it("hears the very object that the listeners got, after them", () => {
    const events = new Events();
    const heard: unknown[] = [];
    const subscriber = (message: unknown): void => void heard.push("subscriber", message);
    subscribe("holdfast:stall", subscriber);
    using _ = events.on("stall", (event) => void heard.push("listener", event));
    events.emit("stall", 0, stall);
    unsubscribe("holdfast:stall", subscriber);
    assert.deepEqual([heard[0], heard[2]], ["listener", "subscriber"]);
    assert.equal(heard[1], heard[3]);
  });
});

/** What is thrown on in microtasks, each of which is run by itself when asked. */
function thrownOn(t: TestContext): () => unknown[] {
  const tasks: (() => void)[] = [];
  t.mock.method(globalThis, "queueMicrotask", (task: () => void) => void tasks.push(task));
  return () =>
    tasks.map((task) => {
      try {
        task();
      } catch (error) {
        return error;
      }
      return assert.fail("the microtask did not throw");
    });
}

/** The events of EventMap with their fields, from the source: types are gone when the tests run. */
function declaredEvents(): ReadonlyMap<string, readonly string[]> {
  const path = "src/call/event.ts";
  const { program } = parse(path, readFileSync(join(ROOT, path), "utf8"));
  const map = nodesField(program, "body")
    .map((statement) => nodeField(statement, "declaration"))
    .find((declaration) => textField(nodeField(declaration, "id"), "name") === "EventMap");
  return new Map(
    membersOf(nodeField(map, "body")).map((member) => [
      keyOf(member),
      nodesField(nodeField(nodeField(member, "typeAnnotation"), "typeAnnotation"), "members").map(keyOf),
    ]),
  );
}

function membersOf(body: SyntaxNode | undefined): readonly SyntaxNode[] {
  return nodesField(body, "body");
}

function keyOf(member: SyntaxNode): string {
  const key = nodeField(member, "key");
  return textField(key, "name") || textField(key, "value");
}
