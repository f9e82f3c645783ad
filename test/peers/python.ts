/** The probe over Debian's python3-grpcio (C-core), as child processes that speak JSON lines. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { create, type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  type CallingPeer,
  type CallOutcome,
  type Fields,
  type PeerClient,
  type PeerClientOptions,
  type PeerServer,
  type PeerServerOptions,
  pathOf,
  type ServingPeer,
} from "../interop/peer.ts";
import { decodeStatusDetails } from "./status-details.ts";

export const python: CallingPeer & ServingPeer = {
  name: "python3-grpcio",
  refusesJoinedBytes: true,
  startServer,
  createClient,
};

const SCRIPT = join(import.meta.dirname, "python", "probe.py");

/** The first Python that has grpcio and protobuf: Debian's packages belong to Debian's Python, whatever PATH says. */
export function findPython(): string | undefined {
  return ["/usr/bin/python3", "python3"].find(
    (program) => spawnSync(program, ["-c", "import grpc, google.protobuf"], { stdio: "ignore" }).status === 0,
  );
}

type Line = Readonly<Record<string, unknown>>;

interface Script {
  readonly child: ChildProcess;
  /** The first line it prints: it is ready. */
  readonly first: Promise<Line>;
  write(line: Line): void;
  close(): Promise<void>;
}

function start(role: "server" | "client", options: object, onLine: (line: Line) => void): Script {
  const program = findPython();
  if (program === undefined) throw new Error("no Python with grpcio: apt-get install python3-grpcio python3-protobuf");
  const child = spawn(program, [SCRIPT, role, JSON.stringify(options)], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const lines = createInterface({ input: child.stdout });
  const first = new Promise<Line>((resolve, reject) => {
    lines.once("line", (text) => {
      resolve(JSON.parse(text) as Line);
      lines.on("line", (next) => onLine(JSON.parse(next) as Line));
    });
    void ended.then((code) => reject(new Error(`${SCRIPT} ${role} ended with ${code}`)));
  });
  return {
    child,
    first,
    write: (line) => void child.stdin.write(`${JSON.stringify(line)}\n`),
    async close() {
      child.stdin.end();
      await ended;
    },
  };
}

async function startServer(options: PeerServerOptions): Promise<PeerServer> {
  const script = start("server", options, () => undefined);
  const { port } = await script.first;
  return { port: Number(port), close: script.close };
}

async function createClient(options: PeerClientOptions): Promise<PeerClient> {
  const waiting = new Map<number, (line: Line) => void>();
  let lastId = 0;
  const script = start("client", options, (line) => {
    waiting.get(Number(line["id"]))?.(line);
    waiting.delete(Number(line["id"]));
  });
  await script.first;
  return {
    async call(plan) {
      if (plan.onAllSent !== undefined || plan.requestDelayMs !== undefined)
        throw new Error("not taught to the Python peer");
      const id = ++lastId;
      const answer = new Promise<Line>((resolve) => waiting.set(id, resolve));
      script.write({
        id,
        kind: plan.method.methodKind,
        path: pathOf(plan.method),
        requests: plan.requests.map((request) =>
          base64(toBinary(plan.method.input, create(plan.method.input, request))),
        ),
        metadata: (plan.metadata ?? []).map(([name, value]) => [
          name,
          typeof value === "string" ? value : { bytes: base64(value) },
        ]),
        timeoutMs: plan.timeoutMs,
        isLockstep: plan.isLockstep,
        isCompressed: plan.isCompressed,
        cancelAfterReplies: plan.cancelAfterReplies,
        keepsOpen: plan.keepsOpen,
      });
      void plan.cancelWhen?.then(() => script.write({ cancel: id }));
      const line = await answer;
      if (line["failed"] !== undefined) throw new Error(`${SCRIPT}: ${String(line["failed"])}`);
      return outcomeOf(plan.method, line as unknown as Outcome);
    },
    close: script.close,
  };
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

interface Outcome {
  readonly replies: readonly string[];
  readonly header: readonly WireField[];
  readonly trailer: readonly WireField[];
  readonly code: number;
  readonly text: string;
}
type WireField = readonly [name: string, value: string | { readonly bytes: string }];

function outcomeOf<M extends DescMethod>(method: M, outcome: Outcome): CallOutcome<M> {
  const trailer = fieldsOf(outcome.trailer);
  const status = trailer.find(([name]) => name === "grpc-status-details-bin")?.[1];
  return {
    replies: outcome.replies.map(
      (reply) => fromBinary(method.output, Buffer.from(reply, "base64")) as MessageShape<M["output"]>,
    ),
    header: fieldsOf(outcome.header),
    trailer,
    code: outcome.code,
    text: outcome.text,
    details: decodeStatusDetails(typeof status === "string" ? undefined : status).map(({ typeUrl, value }) => ({
      typeUrl,
      value,
    })),
  };
}

function fieldsOf(fields: readonly WireField[]): Fields {
  return fields.map(
    ([name, value]) =>
      [name, typeof value === "string" ? value : new Uint8Array(Buffer.from(value.bytes, "base64"))] as const,
  );
}
