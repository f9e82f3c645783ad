/**
 * The front door holds the thirty names that API.md plans, and no other; the doors are those of the plan.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { declaredDoors, doors, exportsOf } from "./doors.ts";

/** Name -> whether it exists ("now") or comes with a later issue ("later", and the test fails when it is there). */
type Plan = Readonly<Record<string, "now" | "later">>;

const VALUES: Plan = {
  annotate: "now",
  createChannel: "now",
  createClient: "now",
  createServer: "now",
  currentCall: "now",
  defineConfig: "later", // the supervisor's
  defineContract: "later", // contracts from Standard Schemas
  defineError: "now",
  detach: "now",
  pipe: "now",
  RpcError: "now",
  stream: "later", // of defineContract
  within: "now",
};

const TYPES: Plan = {
  Call: "now",
  CallOptions: "now",
  Channel: "now",
  ChannelOptions: "now",
  Client: "now",
  ClientOptions: "now",
  Code: "now",
  Contract: "now",
  Effect: "now",
  HandlerCall: "now",
  Handlers: "now",
  Interceptor: "now",
  Metadata: "now",
  Policy: "now",
  Server: "now",
  ServerOptions: "now",
  Stream: "now",
};

/** Every subpath that the plan names. */
const SUBPATHS = [
  ".",
  "./call",
  "./chaos",
  "./details",
  "./discover",
  "./durable",
  "./gateway",
  "./observe",
  "./otel",
  "./policy",
  "./protect",
  "./simulate",
  "./supervise",
  "./testing",
];

const built = doors().find(({ subpath }) => subpath === ".");
const namesNow = (plan: Plan): readonly string[] =>
  Object.keys(plan)
    .filter((name) => plan[name] === "now")
    .sort();

test("the plan of the front door has at most thirty names", () => {
  assert.equal(
    new Set([...Object.keys(VALUES), ...Object.keys(TYPES)]).size,
    Object.keys(VALUES).length + Object.keys(TYPES).length,
  );
  assert.ok(Object.keys(VALUES).length + Object.keys(TYPES).length <= 30);
});

test("the front door exports the values and types of the plan that are built", () => {
  assert.ok(built !== undefined, "src/index.ts is missing");
  const exported = exportsOf(built.path);
  assert.deepEqual(
    exported
      .filter(({ isType }) => !isType)
      .map(({ name }) => name)
      .sort(),
    namesNow(VALUES),
  );
  assert.deepEqual(
    exported
      .filter(({ isType }) => isType)
      .map(({ name }) => name)
      .sort(),
    namesNow(TYPES),
  );
});

test("the values are there at run time", async () => {
  assert.ok(built !== undefined, "src/index.ts is missing");
  assert.deepEqual(Object.keys((await import("holdfast")) as object).sort(), namesNow(VALUES));
});

test("no door is open that the plan does not name, and none without its source", () => {
  assert.deepEqual(
    declaredDoors()
      .map(({ subpath }) => subpath)
      .filter((subpath) => !SUBPATHS.includes(subpath)),
    [],
  );
  assert.deepEqual(
    declaredDoors().filter((door) => !doors().includes(door) && !doors().some(({ path }) => path === door.path)),
    [],
  );
});

test("the door holdfast/call holds types only", () => {
  const door = doors().find(({ subpath }) => subpath === "./call");
  assert.deepEqual(
    door === undefined
      ? []
      : exportsOf(door.path)
          .filter(({ isType }) => !isType)
          .map(({ name }) => name),
    [],
  );
});
