/**
 * The codec alone, against protobuf-es: nanoseconds per message and ratios, on the order of half a KiB and on a small message.
 * `node --conditions=holdfast-source bench/codec.ts [--json]`
 *
 * Rounds alternate between the contenders; a figure is the median of the rounds, a ratio the median of the rounds' ratios. It does
 * not measure what garbage collection costs a process that also does other work, nor messages whose shapes vary.
 */
import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type CoderKind, compileCodecAs } from "../src/schema/codec.ts";
import { AddRequestSchema, OrderSchema } from "./gen/bench/v1/bench_pb.ts";
import { order } from "./order.ts";

interface Result {
  readonly message: string;
  readonly bytes: number;
  readonly codec: CoderKind;
  readonly encodeNs: number;
  readonly decodeNs: number;
  readonly peerEncodeNs: number;
  readonly peerDecodeNs: number;
  readonly encodeRatio: number;
  readonly decodeRatio: number;
}

const rounds = 7;
const roundMs = 60;

const results = [
  measure("order", OrderSchema, order, "generated"),
  measure("add", AddRequestSchema, { a: 1, b: 300 }, "generated"),
  measure("order", OrderSchema, order, "interpreted"),
];
if (process.argv.includes("--json")) {
  console.log(JSON.stringify({ results }));
} else {
  for (const { message, bytes, codec, ...figures } of results) {
    const { encodeNs, peerEncodeNs, encodeRatio, decodeNs, peerDecodeNs, decodeRatio } = figures;
    console.log(`${message} (${bytes} bytes), ${codec} codec against protobuf-es`);
    console.log(`  encode ${encodeNs} ns against ${peerEncodeNs} ns: ${encodeRatio}x`);
    console.log(`  decode ${decodeNs} ns against ${peerDecodeNs} ns: ${decodeRatio}x`);
  }
}

function measure(name: string, desc: DescMessage, init: object, kind: CoderKind): Result {
  const codec = compileCodecAs(desc, kind);
  const message = create(desc, init as never);
  const array = toBinary(desc, message);
  const bytes = Buffer.from(array);
  const slab = Buffer.alloc(65_536);
  const runs = [
    () => codec.encodeInto(message, slab, 0),
    () => toBinary(desc, message),
    () => codec.decode(bytes, 0, bytes.length),
    () => fromBinary(desc, array),
  ].map((run) => ({ run, ns: [] as number[] }));
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const { run, ns } of runs) {
      const figure = nanosecondsOf(run);
      if (round > 0) ns.push(figure);
    }
  }
  const [encode, peerEncode, decode, peerDecode] = runs.map(({ ns }) => ns) as [number[], number[], number[], number[]];
  return {
    message: name,
    bytes: bytes.length,
    codec: kind,
    encodeNs: Math.round(median(encode)),
    decodeNs: Math.round(median(decode)),
    peerEncodeNs: Math.round(median(peerEncode)),
    peerDecodeNs: Math.round(median(peerDecode)),
    encodeRatio: ratioOf(encode, peerEncode),
    decodeRatio: ratioOf(decode, peerDecode),
  };
}

function nanosecondsOf(run: () => unknown): number {
  let count = 0;
  const start = performance.now();
  let now = start;
  while (now - start < roundMs) {
    for (let i = 0; i < 500; i++) run();
    count += 500;
    now = performance.now();
  }
  return ((now - start) * 1e6) / count;
}

/** How many times faster: the median of the rounds' own ratios. */
function ratioOf(ours: readonly number[], theirs: readonly number[]): number {
  return Number(median(ours.map((ns, round) => (theirs[round] ?? NaN) / ns)).toFixed(2));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
