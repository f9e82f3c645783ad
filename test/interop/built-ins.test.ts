/** Health, reflection and debug answers, asked by grpcurl (grpc-go) and by grpcio's own clients. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { createServer, type Server } from "holdfast";
import { Memory } from "../../examples/gen/calc/v1/calc_pb.ts";
import { Channelz } from "../../src/schema/gen/grpc/channelz/v1/channelz_pb.ts";
import { Health } from "../../src/schema/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../src/schema/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../src/schema/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { Extending } from "../../src/schema/testdata/gen/fixture/extensions/extending_pb.ts";
import { DebugService } from "../../src/server/debug.ts";
import { HealthBoard } from "../../src/server/health.ts";
import { HealthService } from "../../src/server/health-service.ts";
import { ReflectionService } from "../../src/server/reflection.ts";
import { ReflectionIndex } from "../../src/server/reflection-index.ts";
import { grpcurl } from "../peers/grpcurl.ts";
import { findPython } from "../peers/python.ts";
import { goProgram, hasProgram, PYTHON_MODULES, skipWithout } from "../peers/tools.ts";
import { Probe, probe } from "../simulation/probe-cluster.ts";
import { inTime } from "./in-time.ts";

const PROBE = Probe.typeName;

interface Rig {
  readonly server: Server;
  readonly board: HealthBoard;
  readonly health: HealthService;
  readonly port: number;
}

async function start(): Promise<Rig> {
  const board = new HealthBoard();
  const index = new ReflectionIndex();
  const health = new HealthService(board);
  const reflection = new ReflectionService(index);
  const calls = { started: 7, succeeded: 7, failed: 0, lastAtMs: undefined };
  const debug = new DebugService({
    servers: () => [{ id: 1, name: "interop", doors: [], ...calls }],
    sockets: () => [],
    channels: () => [],
  });
  const server = probe(createServer())
    .service(Extending, { extend: (request) => request })
    .service(Health, health)
    .service(ServerReflection, reflection)
    .service(ServerReflectionAlpha, reflection)
    .service(Channelz, debug);
  for (const contract of [Probe, Extending, Health, ServerReflection, ServerReflectionAlpha, Channelz]) {
    index.add(contract);
    board.serviceAdded(contract.typeName);
  }
  const { port } = await server.listen(0);
  return { server, board, health, port };
}

const withoutGrpcurl = skipWithout(hasProgram(goProgram("grpcurl")), "test/peers/build.sh go");

describe("grpcurl", { skip: withoutGrpcurl }, () => {
  let rig: Rig;
  const run = (flags: readonly string[], ...words: readonly string[]): ReturnType<typeof grpcurl> =>
    inTime(grpcurl(rig.port, flags, words), `grpcurl ${words.join(" ")}`);
  before(async () => {
    rig = await start();
  });
  after(() => rig.server.close({ timeoutMs: 0 }));

  it("lists the services, and the methods of one", async () => {
    const services = await run([], "list");
    assert.equal(services.code, 0, services.output);
    assert.deepEqual(services.output.trim().split("\n"), [
      "fixture.extensions.Extending",
      "grpc.channelz.v1.Channelz",
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      PROBE,
    ]);
    const methods = await run([], "list", PROBE);
    assert.deepEqual(methods.output.trim().split("\n"), Probe.methods.map(({ name }) => `${PROBE}.${name}`).sort());
  });

  it("describes services, messages, methods and fields, and says of what there is not that it is not there", async () => {
    const service = await run([], "describe", PROBE);
    assert.match(service.output, /rpc Chat \( stream \.holdfast\.interop\.v1\.ProbeRequest \) returns \( stream /);
    const message = await run([], "describe", "holdfast.interop.v1.ProbeRequest");
    assert.match(message.output, /int32 reply_count = 3/);
    const nested = await run([], "describe", "grpc.channelz.v1.Address.TcpIpAddress");
    assert.match(nested.output, /bytes ip_address = 1/);
    const method = await run([], "describe", `${PROBE}.Unary`);
    assert.match(method.output, /is a method:\nrpc Unary/);
    const field = await run([], "describe", "holdfast.interop.v1.ProbeRequest.key");
    assert.match(field.output, /is a field:\nstring key = 6/);
    const extended = await run([], "describe", "fixture.extensions.Extender.extender");
    assert.match(extended.output, /extension/);
    const nothing = await run([], "describe", "nobody.knows.This");
    assert.notEqual(nothing.code, 0);
    assert.match(nothing.output, /not found/i);
  });

  it("calls what it knows by reflection alone: unary and streaming", async () => {
    const body = Buffer.from("hello").toString("base64");
    const unary = await run(["-d", JSON.stringify({ body })], `${PROBE}/Unary`);
    assert.equal(unary.code, 0, unary.output);
    assert.deepEqual(JSON.parse(unary.output), { body });
    const chat = await run(["-d", '{"body":"YQ=="} {"body":"Yg=="}'], `${PROBE}/Chat`);
    assert.equal(chat.code, 0, chat.output);
    assert.match(chat.output.replace(/\s/g, ""), /^\{"body":"YQ=="\}\{"body":"Yg==","index":1\}$/);
    const extension = await run(
      ["-d", '{"name":"a","[fixture.extensions.height]":3}'],
      "fixture.extensions.Extending/Extend",
    );
    assert.deepEqual(JSON.parse(extension.output), { name: "a", "[fixture.extensions.height]": 3 });
  });

  it("asks for health: Check, List, and a Watch that ends when the server says so", async () => {
    const check = async (service: string): Promise<string> =>
      (await run(["-d", JSON.stringify({ service })], "grpc.health.v1.Health/Check")).output;
    assert.deepEqual(JSON.parse(await check("")), { status: "SERVING" });
    rig.board.setHealth(PROBE, "NOT_SERVING");
    assert.deepEqual(JSON.parse(await check(PROBE)), { status: "NOT_SERVING" });
    assert.match(await check("other"), /NotFound/);
    const list = await run([], "grpc.health.v1.Health/List");
    const { statuses } = JSON.parse(list.output) as { statuses: Record<string, { status: string }> };
    assert.deepEqual([statuses[""]?.status, statuses[PROBE]?.status], ["SERVING", "NOT_SERVING"]);
    const watching = grpcurl(
      rig.port,
      ["-d", JSON.stringify({ service: PROBE })],
      ["grpc.health.v1.Health/Watch"],
      (output) => {
        // Turned once the first word has been printed, and ended once the second has.
        if (output.endsWith("}\n") && output.includes('"SERVING"')) rig.health.end();
        else if (output.endsWith("}\n")) rig.board.setHealth(PROBE, "SERVING");
      },
    );
    const watch = await inTime(watching, "grpcurl Watch");
    assert.match(
      watch.output.replace(/\s/g, ""),
      /^\{"status":"NOT_SERVING"\}\{"status":"SERVING"\}ERROR:Code:Unavailable/,
    );
  });

  it("asks for debug answers", async () => {
    const { output } = await run([], "grpc.channelz.v1.Channelz/GetServers");
    assert.deepEqual(JSON.parse(output), {
      server: [{ ref: { serverId: "1", name: "interop" }, data: { callsStarted: "7", callsSucceeded: "7" } }],
      end: true,
    });
  });
});

describe("grpcurl, and a server as it is by default", { skip: withoutGrpcurl }, () => {
  it("finds its services, calls one by reflection alone, and is told of its health as the server tells it", async () => {
    const server = createServer().service(Memory, { remember: ({ value }) => ({ value }) });
    const { port } = await server.listen(0);
    const run = (flags: readonly string[], ...words: readonly string[]): ReturnType<typeof grpcurl> =>
      inTime(grpcurl(port, flags, words), `grpcurl ${words.join(" ")}`);
    const services = await run([], "list");
    const health = await run(["-d", JSON.stringify({ service: Memory.typeName })], "grpc.health.v1.Health/Check");
    const call = await run(["-d", '{"value": 3}'], `${Memory.typeName}/Remember`);
    server.setHealth(Memory.typeName, "NOT_SERVING");
    const later = await run(["-d", JSON.stringify({ service: Memory.typeName })], "grpc.health.v1.Health/Check");
    await server.close({ timeoutMs: 0 });
    assert.deepEqual(services.output.trim().split("\n"), [
      "calc.v1.Memory",
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
    ]);
    assert.deepEqual(JSON.parse(health.output), { status: "SERVING" });
    assert.deepEqual(JSON.parse(call.output), { value: 3 });
    assert.deepEqual(JSON.parse(later.output), { status: "NOT_SERVING" });
  });
});

/** The Python that has them, beside grpcio. */
function pythonWithClients(): string | undefined {
  const program = findPython();
  if (program === undefined) return undefined;
  const { status } = spawnSync(program, ["-c", "import grpc_health.v1, grpc_reflection.v1alpha"], {
    stdio: "ignore",
    env: { ...process.env, PYTHONPATH: PYTHON_MODULES },
  });
  return status === 0 ? program : undefined;
}

const withoutPython = skipWithout(pythonWithClients() !== undefined, "test/peers/build.sh debian");

describe("grpcio's clients of health and reflection", { skip: withoutPython }, () => {
  it("are told what there is, through a Watch, Check, and reflection v1alpha", async () => {
    const { server, board, port } = await start();
    const script = join(import.meta.dirname, "..", "peers", "python", "built_ins.py");
    const child = spawn(pythonWithClients() ?? "python3", [script, String(port)], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, PYTHONPATH: PYTHON_MODULES },
      timeout: 60_000,
    });
    const answers: (readonly [name: string, value: unknown])[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { name, value } = JSON.parse(line) as { name: string; value: unknown };
      if (answers.push([name, value]) === 1) board.setHealth(PROBE, "NOT_SERVING");
    });
    const code = await inTime(new Promise((resolve) => child.once("close", resolve)), "built_ins.py");
    await server.close({ timeoutMs: 0 });
    assert.deepEqual(answers, [
      ["watch", "SERVING"],
      ["watch", "NOT_SERVING"],
      ["watch unknown", "SERVICE_UNKNOWN"],
      ["check", "SERVING"],
      ["check of a service", "NOT_SERVING"],
      ["check unknown", "NOT_FOUND"],
      [
        "services",
        [Channelz, Extending, Health, Probe, ServerReflection, ServerReflectionAlpha]
          .map(({ typeName }) => typeName)
          .sort(),
      ],
      ["method", ["holdfast.interop.v1.ProbeRequest", "holdfast.interop.v1.ProbeReply"]],
      ["call", "hello"],
      ["file", "google.protobuf"],
      ["extensions", [100, 101]],
      ["extension", ["fixture/extensions/extending.proto", "fixture/extensions/extended.proto"]],
      ["symbol", "KeyError"],
    ]);
    assert.equal(code, 0);
  });
});
